"""Positive and negative perturbation as Chefer et al. run it."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from vitfaith.metrics.common import CurveMetric, LabelledParameters, LevelParameters, correct, reference_classes
from vitfaith.metrics.context import Response, ScoreContext
from vitfaith.metrics.engine.requests import EqualSteps, Grid, Level, Order
from vitfaith.metrics.fills.registry import FillChoice
from vitfaith.metrics.registry import metric

if TYPE_CHECKING:
    from torch import Tensor

CHEFER = "Chefer et al., Transformer Interpretability Beyond Attention Visualization, CVPR 2021"


class CheferParameters(LevelParameters, LabelledParameters):
    """The authors' protocol: pixels, black in [0, 1] units, top-1 against the ground truth; 0 %, 10 %, … 90 %."""

    level: Level = "pixel"
    fill: FillChoice = "black"

    @property
    def grid(self) -> Grid:
        """⌊i·P/10⌋ pixels, i = 0 … 9."""
        return EqualSteps(10, last=9)


@metric(
    "chefer_positive",
    formula="100 ∫ 1[arg-max at φ = label] dφ over 0 … 0.9, MoRF",
    value_range="[0, 90]",
    direction="lower",
    citation=CHEFER,
    parameters=CheferParameters,
)
class CheferPositive(CurveMetric[CheferParameters]):
    """100 × area under 0/1 correctness over 0 … 90 % removed, most relevant first (0 to 90).

    The clean image is the first point, as in the authors' published numbers (their script leaves it out). The mean
    over images is the area under top-1 accuracy.
    """

    orders: ClassVar[tuple[Order, ...]] = ("morf",)

    def score(self, context: ScoreContext, *curves: Response) -> Tensor:
        """Trapezoids of width 0.1."""
        from vitfaith.metrics.engine.curves import unit_area

        return 10 * unit_area(correct(curves[0], reference_classes(context, self.parameters.reference)))


@metric(
    "chefer_negative",
    formula="100 ∫ 1[arg-max at φ = label] dφ over 0 … 0.9, LeRF",
    value_range="[0, 90]",
    direction="higher",
    citation=CHEFER,
    parameters=CheferParameters,
)
class CheferNegative(CheferPositive):
    """100 × area under 0/1 correctness over 0 … 90 % removed, least relevant first (0 to 90)."""

    orders: ClassVar[tuple[Order, ...]] = ("lerf",)

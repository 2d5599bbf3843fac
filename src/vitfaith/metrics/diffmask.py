"""The curves behind Table 1 of Vision DiffMask, named for what the authors' notebook computes.

The paper's "KL" is −log p(ŷ), the divergence of the one-hot prediction, and its "accuracy" the mean probability of the
originally predicted class. The divergence between the two distributions is ``kl_auc_morf`` and ``kl_auc_lerf``,
accuracy is ``accuracy_auc``; both take the parameters ``{level: pixel, fill: noise, steps: 28}``. The release enlarges
rollout's and DiffMask's maps by repeating cells and the others bilinearly, which ``upsampling: official`` does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from vitfaith.metrics.common import CurveMetric, CurveParameters
from vitfaith.metrics.context import Response, ScoreContext
from vitfaith.metrics.engine.requests import Level, Order
from vitfaith.metrics.fills.registry import FillChoice
from vitfaith.metrics.registry import metric

if TYPE_CHECKING:
    from torch import Tensor

DIFFMASK = "Nalmpantis et al., Vision DiffMask, CVPR-W 2023, Table 1"


class DiffMaskParameters(CurveParameters):
    """The notebook's protocol: 29 points, 0 to 100 % of the pixels, uniform noise that is the same at every step."""

    level: Level = "pixel"
    fill: FillChoice = "noise"
    steps: int = 28


@metric(
    "diffmask_positive_nll",
    formula="Σ of 28 trapezoids of −log p, MoRF",
    value_range="[0, ∞)",
    direction="higher",
    citation=DIFFMASK,
    parameters=DiffMaskParameters,
)
class PositiveNll(CurveMetric[DiffMaskParameters]):
    """Area under −log p(target), most relevant first, trapezoids of unit width (the paper's "pos. KL")."""

    orders: ClassVar[tuple[Order, ...]] = ("morf",)

    def score(self, context: ScoreContext, *curves: Response) -> Tensor:
        """Sum over 28 trapezoids."""
        from vitfaith.metrics.engine.curves import unit_area

        return unit_area(-curves[0].log_probability)


@metric(
    "diffmask_negative_nll",
    formula="Σ of 28 trapezoids of −log p, LeRF",
    value_range="[0, ∞)",
    direction="lower",
    citation=DIFFMASK,
    parameters=DiffMaskParameters,
)
class NegativeNll(PositiveNll):
    """Area under −log p(target), least relevant first, trapezoids of unit width (the paper's "neg. KL")."""

    orders: ClassVar[tuple[Order, ...]] = ("lerf",)


@metric(
    "diffmask_positive_probability",
    formula="Σ of 28 trapezoids of p, MoRF",
    value_range="[0, 28]",
    direction="lower",
    citation=DIFFMASK,
    parameters=DiffMaskParameters,
)
class PositiveProbability(CurveMetric[DiffMaskParameters]):
    """Area under p(target), most relevant first, trapezoids of unit width, at most 28 (the paper's "pos. acc")."""

    orders: ClassVar[tuple[Order, ...]] = ("morf",)

    def score(self, context: ScoreContext, *curves: Response) -> Tensor:
        """Sum over 28 trapezoids."""
        from vitfaith.metrics.engine.curves import unit_area

        return unit_area(curves[0].probability)


@metric(
    "diffmask_negative_probability",
    formula="Σ of 28 trapezoids of p, LeRF",
    value_range="[0, 28]",
    direction="higher",
    citation=DIFFMASK,
    parameters=DiffMaskParameters,
)
class NegativeProbability(PositiveProbability):
    """Area under p(target), least relevant first, trapezoids of unit width, at most 28 (the paper's "neg. acc")."""

    orders: ClassVar[tuple[Order, ...]] = ("lerf",)

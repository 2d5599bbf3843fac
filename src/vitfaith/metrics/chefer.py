"""Positive and negative perturbation in the protocol of Chefer et al."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from vitfaith.metrics.common import (
    LabelledParameters,
    LevelChoice,
    LevelParameters,
    ReadOut,
    hits,
    read_outs,
    unit_area,
)
from vitfaith.metrics.engine.requests import EqualSteps, Grid
from vitfaith.metrics.fills.registry import Fill

if TYPE_CHECKING:
    from torch import Tensor

CHEFER = "Chefer et al., Transformer Interpretability Beyond Attention Visualization, CVPR 2021"


class CheferParameters(LevelParameters, LabelledParameters):
    """The authors' protocol: pixels, black in [0, 1] units, top-1 against the ground truth; 0 %, 10 %, … 90 %."""

    level: LevelChoice = "pixel"
    fill: Fill = Field("black", validate_default=True)

    @property
    def grid(self) -> Grid:
        """⌊i·P/10⌋ pixels, i = 0 … 9."""
        return EqualSteps(10, last=9)


def percent(values: Tensor, fraction: Tensor) -> Tensor:
    """100 × area by trapezoids of width 0.1."""
    return 10 * unit_area(values, fraction)


read_outs(
    __name__,
    CheferParameters,
    ReadOut(
        "chefer_positive",
        "100 × area under 0/1 correctness over 0 … 90 % removed, most relevant first (0 to 90).\n\n"
        "The clean image is the first point, as in the authors' published numbers (their script leaves it out). The mean "
        "over images is the area under top-1 accuracy.",
        ("morf",),
        percent,
        direction="lower",
        value_range="[0, 90]",
        formula="100 ∫ 1[arg-max at φ = label] dφ over 0 … 0.9, MoRF",
        citation=CHEFER,
        values=hits,
    ),
    ReadOut(
        "chefer_negative",
        "100 × area under 0/1 correctness over 0 … 90 % removed, least relevant first (0 to 90).",
        ("lerf",),
        percent,
        direction="higher",
        value_range="[0, 90]",
        formula="100 ∫ 1[arg-max at φ = label] dφ over 0 … 0.9, LeRF",
        citation=CHEFER,
        values=hits,
    ),
)

"""ROAD: remove and debias, with noisy linear imputation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from vitfaith.metrics.common import (
    LabelledParameters,
    LevelChoice,
    LevelParameters,
    ReadOut,
    hits,
    mean_after_start,
    probability,
    read_outs,
)
from vitfaith.metrics.engine.requests import Grid, Shares
from vitfaith.metrics.fills.registry import Fill

if TYPE_CHECKING:
    from torch import Tensor

    from vitfaith.metrics.context import Response, ScoreContext

ROAD = "Rong et al., A Consistent and Efficient Evaluation Strategy for Attribution Methods, ICML 2022"


class RoadParameters(LevelParameters, LabelledParameters):
    """Shares of removed pixels, and the averaged quantity: the target's probability, or 0/1 accuracy as in the paper.

    ``reference`` is the class that counts as correct for accuracy; it has no effect on the probability.
    """

    level: LevelChoice = "pixel"
    fill: Fill = Field("noisy_linear", validate_default=True)
    shares: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = Field(
        (0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 0.9), min_length=1, description="shares of the pixels that are removed"
    )
    read: Literal["probability", "accuracy"] = Field(
        "probability",
        description="averaged quantity: probability of the explained class, or 0/1 accuracy as in the paper",
    )

    @property
    def grid(self) -> Grid:
        """Points of the curve."""
        return Shares(self.shares)


def level(context: ScoreContext, parameters: RoadParameters, curve: Response) -> Tensor:
    """The target's probability, or 0/1 correctness."""
    return (hits if parameters.read == "accuracy" else probability)(context, parameters, curve)


read_outs(
    __name__,
    RoadParameters,
    ReadOut(
        "road_morf",
        "Mean target probability (or accuracy) after imputing the most relevant pixels from the others.",
        ("morf",),
        mean_after_start,
        direction="lower",
        value_range="[0, 1]",
        formula="mean over shares of p, MoRF, pixels imputed",
        citation=ROAD,
        values=level,
    ),
    ReadOut(
        "road_lerf",
        "Mean target probability (or accuracy) after imputing the least relevant pixels from the others.",
        ("lerf",),
        mean_after_start,
        direction="higher",
        value_range="[0, 1]",
        formula="mean over shares of p, LeRF, pixels imputed",
        citation=ROAD,
        values=level,
    ),
    ReadOut(
        "road_combined",
        "Half the difference between ``road_lerf`` and ``road_morf``.",
        ("morf", "lerf"),
        mean_after_start,
        direction="higher",
        value_range="[−½, ½]",
        formula="(road_lerf − road_morf) / 2",
        citation=ROAD,
        values=level,
        join=lambda morf, lerf: (lerf - morf) / 2,
    ),
)

"""ROAD: remove and debias, with noisy linear imputation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from vitfaith.metrics.common import (
    CurveMetric,
    LabelledParameters,
    LevelParameters,
    correct,
    reference_classes,
    shares_of,
)
from vitfaith.metrics.context import Response, ScoreContext
from vitfaith.metrics.engine.requests import Grid, Level, Order, Shares
from vitfaith.metrics.fills.registry import FillChoice
from vitfaith.metrics.registry import metric

if TYPE_CHECKING:
    from torch import Tensor

ROAD = "Rong et al., A Consistent and Efficient Evaluation Strategy for Attribution Methods, ICML 2022"


class RoadParameters(LevelParameters, LabelledParameters):
    """Shares of the pixels removed, and what is averaged: the target's probability, or 0/1 accuracy as in the paper.

    ``reference`` says what counts as correct for accuracy; for the probability it has no effect.
    """

    level: Level = "pixel"
    fill: FillChoice = "noisy_linear"
    shares: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = Field((0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 0.9), min_length=1)
    read: Literal["probability", "accuracy"] = "probability"

    @property
    def grid(self) -> Grid:
        """Points of the curve."""
        return Shares(self.shares)


class _Road(CurveMetric[RoadParameters]):
    def level_of(self, context: ScoreContext, curve: Response) -> Tensor:
        """Mean over the shares (B, M)."""
        from vitfaith.metrics.engine.curves import mean_after_start

        values = curve.probability
        if self.parameters.read == "accuracy":
            values = correct(curve, reference_classes(context, self.parameters.reference))
        return mean_after_start(values, shares_of(curve))


@metric(
    "road_morf",
    formula="mean over shares of p, MoRF, pixels imputed",
    value_range="[0, 1]",
    direction="lower",
    citation=ROAD,
    parameters=RoadParameters,
)
class RoadMorf(_Road):
    """Mean target probability (or accuracy) after imputing the most relevant pixels from the others."""

    orders: ClassVar[tuple[Order, ...]] = ("morf",)

    def score(self, context: ScoreContext, *curves: Response) -> Tensor:
        """Mean over the shares."""
        return self.level_of(context, curves[0])


@metric(
    "road_lerf",
    formula="mean over shares of p, LeRF, pixels imputed",
    value_range="[0, 1]",
    direction="higher",
    citation=ROAD,
    parameters=RoadParameters,
)
class RoadLerf(RoadMorf):
    """Mean target probability (or accuracy) after imputing the least relevant pixels from the others."""

    orders: ClassVar[tuple[Order, ...]] = ("lerf",)


@metric(
    "road_combined",
    formula="(road_lerf − road_morf) / 2",
    value_range="[−½, ½]",
    direction="higher",
    citation=ROAD,
    parameters=RoadParameters,
)
class RoadCombined(_Road):
    """Half the difference between ``road_lerf`` and ``road_morf``."""

    orders: ClassVar[tuple[Order, ...]] = ("morf", "lerf")

    def score(self, context: ScoreContext, *curves: Response) -> Tensor:
        """(LeRF − MoRF) / 2."""
        morf, lerf = curves
        return (self.level_of(context, lerf) - self.level_of(context, morf)) / 2

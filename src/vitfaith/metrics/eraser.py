"""Comprehensiveness and sufficiency as ERASER defines them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from vitfaith.metrics.common import CurveMetric, LevelParameters, shares_of
from vitfaith.metrics.context import Response, ScoreContext
from vitfaith.metrics.engine.requests import Grid, KeptShares, Order, Shares
from vitfaith.metrics.registry import metric

if TYPE_CHECKING:
    from torch import Tensor

ERASER = "DeYoung et al., ERASER, ACL 2020"


class ShareParameters(LevelParameters):
    """Shares of the features that count as the rationale; at least one feature (⌈share·P⌉)."""

    shares: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = Field((0.01, 0.05, 0.1, 0.2, 0.5), min_length=1)

    @property
    def grid(self) -> Grid:
        """Removal of the shares."""
        return Shares(self.shares)


class KeptShareParameters(ShareParameters):
    """Shares of the features that are kept; at least one feature (⌈share·P⌉)."""

    @property
    def grid(self) -> Grid:
        """Removal of everything but the shares."""
        return KeptShares(self.shares)


@metric(
    "comprehensiveness",
    formula="mean over shares q of p(0) − p(top q removed)",
    value_range="[−1, 1]",
    direction="higher",
    citation=ERASER,
    parameters=ShareParameters,
)
class Comprehensiveness(CurveMetric[ShareParameters]):
    """Mean fall of the target's probability when the most relevant share of the features is removed.

    The mean is over the shares, as in ERASER's code; its paper's formula divides by one more.
    """

    orders: ClassVar[tuple[Order, ...]] = ("morf",)

    def score(self, context: ScoreContext, *curves: Response) -> Tensor:
        """mean_q p(x) − p(x without the top q)."""
        from vitfaith.metrics.engine.curves import aopc

        return aopc(curves[0].probability, shares_of(curves[0]))


@metric(
    "sufficiency",
    formula="mean over shares q of p(0) − p(all but top q removed)",
    value_range="[−1, 1]",
    direction="lower",
    citation=ERASER,
    parameters=KeptShareParameters,
)
class Sufficiency(CurveMetric[KeptShareParameters]):
    """Mean fall of the target's probability when only the most relevant share of the features is kept."""

    orders: ClassVar[tuple[Order, ...]] = ("lerf",)

    def score(self, context: ScoreContext, *curves: Response) -> Tensor:
        """mean_q p(x) − p(only the top q)."""
        from vitfaith.metrics.engine.curves import aopc

        return aopc(curves[0].probability, shares_of(curves[0]))

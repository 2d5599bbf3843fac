"""IROF: iterative removal of features, by superpixels."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from vitfaith.metrics.common import CurveMetric, FillParameters, shares_of
from vitfaith.metrics.context import Response, ScoreContext
from vitfaith.metrics.engine.requests import Features, Grid, Order, Stride
from vitfaith.metrics.fills.registry import FillChoice
from vitfaith.metrics.registry import metric

if TYPE_CHECKING:
    from torch import Tensor


class IrofParameters(FillParameters):
    """Number of superpixels asked of SLIC, which returns about as many."""

    fill: FillChoice = "channel_mean"
    segments: int = Field(100, ge=2)

    @property
    def features(self) -> Features:
        """Superpixels, ranked by their mean over the upsampled map."""
        return Features("superpixel", self.segments)

    @property
    def grid(self) -> Grid:
        """One superpixel after the other, all of them."""
        return Stride(1)


@metric(
    "irof",
    formula="1 − ∫ p(k) / p(0) d(k/L) over L superpixels, MoRF",
    value_range="(−∞, 1]",
    direction="higher",
    citation="Rieger & Hansen, IROF, 2020",
    parameters=IrofParameters,
)
class Irof(CurveMetric[IrofParameters]):
    """Area over p(x_k)/p(x) while superpixels are removed, most relevant first; fractions of their number, 0 to 1."""

    orders: ClassVar[tuple[Order, ...]] = ("morf",)

    def score(self, context: ScoreContext, *curves: Response) -> Tensor:
        """1 − ∫ p(x_k)/p(x) d(k/L)."""
        from vitfaith.metrics.engine.curves import area

        probability = curves[0].probability
        return 1 - area(probability / probability[..., :1], shares_of(curves[0]))

"""Pixel flipping and region perturbation."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from vitfaith.metrics.common import CurveMetric, FillParameters, LevelParameters, shares_of
from vitfaith.metrics.context import Response, ScoreContext
from vitfaith.metrics.engine.requests import Features, Grid, Order, Stride
from vitfaith.metrics.fills.registry import FillChoice
from vitfaith.metrics.registry import metric

if TYPE_CHECKING:
    from torch import Tensor


class FlippingParameters(LevelParameters):
    """Features removed at each step, down to the last one; the curve has ⌈P / features_in_step⌉ steps."""

    fill: FillChoice = "black"
    features_in_step: int = Field(1, ge=1)

    @property
    def grid(self) -> Grid:
        """Points of the curve."""
        return Stride(self.features_in_step)


@metric(
    "pixel_flipping",
    formula="mean over k ≥ 1 of p(k), MoRF",
    value_range="[0, 1]",
    direction="lower",
    citation="Bach et al., PLoS ONE 2015",
    parameters=FlippingParameters,
)
class PixelFlipping(CurveMetric[FlippingParameters]):
    """Mean of the target's probability while the features are removed one by one, most relevant first."""

    orders: ClassVar[tuple[Order, ...]] = ("morf",)

    def score(self, context: ScoreContext, *curves: Response) -> Tensor:
        """mean_k p(x_k), k ≥ 1."""
        from vitfaith.metrics.engine.curves import mean_after_start

        return mean_after_start(curves[0].probability, shares_of(curves[0]))


class RegionParameters(FillParameters):
    """Side of the square regions in pixels, and at most how many are removed (the paper: 9, 100, uniform noise)."""

    fill: FillChoice = "noise"
    region: int = Field(9, ge=1)
    regions: int = Field(100, ge=1)

    @property
    def features(self) -> Features:
        """Square regions, ranked by their mean over the upsampled map."""
        return Features("region", self.region)

    @property
    def grid(self) -> Grid:
        """Points of the curve."""
        return Stride(1, self.regions)


@metric(
    "region_perturbation",
    formula="mean over k ≥ 0 of p(0) − p(k), squares, MoRF",
    value_range="[−1, 1]",
    direction="higher",
    citation="Samek et al., TNNLS 2017",
    parameters=RegionParameters,
)
class RegionPerturbation(CurveMetric[RegionParameters]):
    """AOPC of Samek et al.: mean fall of the target's probability over k = 0 … L removed regions."""

    orders: ClassVar[tuple[Order, ...]] = ("morf",)

    def score(self, context: ScoreContext, *curves: Response) -> Tensor:
        """1/(L+1) Σ_{k=0}^{L} p(x) − p(x_k)."""
        fall = curves[0].probability[..., :1] - curves[0].probability
        return fall.mean(-1)

"""Pixel flipping and region perturbation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from vitfaith.metrics.common import FillParameters, LevelParameters, ReadOut, mean_after_start, read_outs
from vitfaith.metrics.engine.requests import Features, Grid, Stride
from vitfaith.metrics.fills.registry import Fill

if TYPE_CHECKING:
    from torch import Tensor


class FlippingParameters(LevelParameters):
    """Features removed per step until none is left; the curve has ⌈P / features_in_step⌉ steps."""

    fill: Fill = Field("black", validate_default=True)
    features_in_step: int = Field(1, ge=1, description="features removed at each step")

    @property
    def grid(self) -> Grid:
        """Points of the curve."""
        return Stride(self.features_in_step)


class RegionParameters(FillParameters):
    """Side of the square regions in pixels, and the maximum number removed (the paper: 9, 100, uniform noise)."""

    fill: Fill = Field("noise", validate_default=True)
    region: int = Field(9, ge=1, description="side of the square regions, pixels")
    regions: int = Field(100, ge=1, description="largest number of removed regions")

    @property
    def features(self) -> Features:
        """Square regions, ranked by their mean over the upsampled map."""
        return Features("region", self.region)

    @property
    def grid(self) -> Grid:
        """Points of the curve."""
        return Stride(1, self.regions)


def fall(values: Tensor, fraction: Tensor) -> Tensor:
    """1/(L+1) Σ_{k=0}^{L} values[0] − values[k]."""
    return (values[..., :1] - values).mean(-1)


read_outs(
    __name__,
    FlippingParameters,
    ReadOut(
        "pixel_flipping",
        "Mean of the target's probability while the features are removed one by one, most relevant first.",
        ("morf",),
        mean_after_start,
        direction="lower",
        value_range="[0, 1]",
        formula="mean over k ≥ 1 of p(k), MoRF",
        citation="Bach et al., PLoS ONE 2015",
    ),
)

read_outs(
    __name__,
    RegionParameters,
    ReadOut(
        "region_perturbation",
        "AOPC of Samek et al.: mean fall of the target's probability over k = 0 … L removed regions.",
        ("morf",),
        fall,
        direction="higher",
        value_range="[−1, 1]",
        formula="mean over k ≥ 0 of p(0) − p(k), squares, MoRF",
        citation="Samek et al., TNNLS 2017",
    ),
)

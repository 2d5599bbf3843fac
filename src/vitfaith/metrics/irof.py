"""IROF: iterative removal of features, by superpixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from vitfaith.metrics.common import FillParameters, ReadOut, area, read_outs
from vitfaith.metrics.engine.requests import Features, Grid, Stride
from vitfaith.metrics.fills.registry import Fill

if TYPE_CHECKING:
    from torch import Tensor


class IrofParameters(FillParameters):
    """Number of superpixels requested from SLIC, which returns about that many."""

    fill: Fill = Field("channel_mean", validate_default=True)
    segments: int = Field(100, ge=2, description="superpixels requested from SLIC, which returns about that many")

    @property
    def features(self) -> Features:
        """Superpixels, ranked by their mean over the upsampled map."""
        return Features("superpixel", self.segments)

    @property
    def grid(self) -> Grid:
        """All superpixels, one after the other."""
        return Stride(1)


def area_over(values: Tensor, fraction: Tensor) -> Tensor:
    """1 − area under the values divided by the first value."""
    return 1 - area(values / values[..., :1], fraction)


read_outs(
    __name__,
    IrofParameters,
    ReadOut(
        "irof",
        "Area over p(x_k)/p(x) while superpixels are removed, most relevant first; fractions of their number, 0 to 1.",
        ("morf",),
        area_over,
        direction="higher",
        value_range="(−∞, 1]",
        formula="1 − ∫ p(k) / p(0) d(k/L) over L superpixels, MoRF",
        citation="Rieger & Hansen, IROF, 2020",
    ),
)

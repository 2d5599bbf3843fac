"""Aggregation of the maps of an image's noise samples into one map."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from vitfaith.errors import ConfigError, InputError
from vitfaith.lazy import torch
from vitfaith.map_values import unit_range
from vitfaith.models.rows import total

if TYPE_CHECKING:
    from torch import Tensor

Aggregation = Literal["mean", "percentile_max"]

_CUT = 0.1
"""Percentile below which the notebook sets a map to zero."""


def aggregate_maps(maps: Tensor, how: Aggregation) -> tuple[Tensor, Tensor]:
    """One map per image from the maps of its noise samples, each min–max normalised first.

    ``mean`` estimates the expectation of the normalised map. ``percentile_max`` follows the published notebook: values
    below the 10th percentile of their map become 0, then the maximum over the samples is taken (the notebook upsamples
    to pixels first). A constant map contributes zeros, so an image whose maps are all constant gets a constant map,
    which is flagged when stored; NaN in any sample's map makes the image's map NaN.

    Args:
        maps: (S, B, rows, columns), S samples.

    Returns:
        Map (B, rows, columns) float32, and standard deviation of the normalised maps over the samples, same shape;
        0 for one sample.
    """
    if maps.ndim != 4 or not len(maps):
        raise InputError(
            f"maps of shape {tuple(maps.shape)} must be (samples, B, rows, columns) with at least one sample"
        )
    scaled = unit_range(maps.float())
    spread = scaled.std(0, correction=1) if len(scaled) > 1 else torch.zeros_like(scaled[0])
    if how == "mean":
        return total(scaled) / len(scaled), spread
    if how == "percentile_max":
        limit = scaled.flatten(2).quantile(_CUT, dim=2)[..., None, None]
        return torch.where(scaled < limit, torch.zeros_like(scaled), scaled).amax(0), spread
    raise ConfigError(f"unknown aggregation '{how}'; known: mean, percentile_max")

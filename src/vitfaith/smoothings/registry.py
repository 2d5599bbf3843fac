"""The registry of smoothings, which change an image before it is explained and classified."""

from __future__ import annotations

from vitfaith.registry import Parameters, Registry
from vitfaith.smoothings.aggregate import Aggregation

SMOOTHINGS: Registry = Registry("smoothing")
"""Entries are ``function(denoiser, images, image_ids, parameters, samples, *, seed, batch_size) -> Tensor`` (images, samples,
C, H, W). The trait ``gradient``, for smoothings that attacks can see through, is ``function(denoiser, images, parameters, draw)``:
one smoothed copy of each of ``images`` (B, C, H, W) with its graph; its noise comes only from ``draw(like)``."""


def smoothings_with_gradient() -> list[str]:
    """Names of the registered smoothings that an attack can see through."""
    return [entry.name for entry in SMOOTHINGS if entry.traits.get("gradient") is not None]


def map_aggregation(parameters: Parameters) -> Aggregation:
    """Aggregation of the maps of noise samples; mean if the smoothing's parameters have no ``map_aggregation``."""
    how: Aggregation = getattr(parameters, "map_aggregation", "mean")
    return how


def certified_sigma(parameters: Parameters) -> float | None:
    """Noise for certificates behind a smoothing; None if its parameters have no ``certified_sigma``."""
    sigma: float | None = getattr(parameters, "certified_sigma", None)
    return sigma

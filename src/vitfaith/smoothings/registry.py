"""The registry of smoothings: what is done to an image before it is explained and classified."""

from __future__ import annotations

from vitfaith.registry import Parameters, Registry
from vitfaith.smoothings.aggregate import Aggregation

SMOOTHINGS: Registry = Registry("smoothing")
"""Entries are ``function(denoiser, images, image_ids, parameters, samples, *, seed, batch_size) -> Tensor`` (images, samples,
C, H, W). The trait ``gradient`` of one that attacks can see through is ``function(denoiser, images, parameters, draw)``:
one smoothed copy of each of ``images`` (B, C, H, W) with its graph, whose noise comes from ``draw(like)`` alone."""


def smoothings_with_gradient() -> list[str]:
    """Names of the registered smoothings that an attack can see through."""
    return [entry.name for entry in SMOOTHINGS if entry.traits.get("gradient") is not None]


def map_aggregation(parameters: Parameters) -> Aggregation:
    """How the maps of the noise samples become one; the mean where the parameters of a smoothing name no ``map_aggregation``."""
    how: Aggregation = getattr(parameters, "map_aggregation", "mean")
    return how


def certified_sigma(parameters: Parameters) -> float | None:
    """Noise that certificates behind a smoothing stand on; None where its parameters name no ``certified_sigma``."""
    sigma: float | None = getattr(parameters, "certified_sigma", None)
    return sigma

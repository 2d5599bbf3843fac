"""Certified predictions by randomised smoothing (Cohen, Rosenfeld and Kolter 2019, arXiv 1902.02918, CERTIFY)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from vitfaith.certificates.radii.bounds import clopper_pearson
from vitfaith.certificates.radii.quantile import unit_quantile
from vitfaith.certificates.radii.renyi import divergence_radius, label_divergence
from vitfaith.certificates.radii.top_k import Floats, Integers
from vitfaith.certificates.settings import ORDERS
from vitfaith.errors import InputError
from vitfaith.noise import Noise

ABSTAIN = -1
"""The prediction of an image without an established class."""


class CertifiedPrediction(NamedTuple):
    """``prediction`` (B,) int64, :data:`ABSTAIN` where undecided; ``radius`` (B,), 0 there; ``lower`` (B,) p̲."""

    prediction: Integers
    radius: Floats
    lower: Floats


def certify(
    selection: ArrayLike, estimation: ArrayLike, sigma: float, alpha: float = 0.001, noise: Noise = "gaussian"
) -> CertifiedPrediction:
    """Class and radius of each smoothed prediction; wrong with probability at most ``alpha`` per image.

    The radius is ``σ Φ⁻¹(p̲)`` in l2 for Gaussian noise. For the other laws it is in l1: ``-b ln(2(1 - p̲))`` for Laplace noise of
    scale b = σ/√2, ``2λ(p̲ - ½)`` for uniform noise of half-width λ = σ√3 (docs/noise.md).

    Args:
        selection: (B, C) class counts of the n0 noisy copies that choose the class.
        estimation: (B, C) class counts of the n other copies that bound its probability from below (Clopper-Pearson).
        sigma: standard deviation of the noise, in the units of the input.
        alpha: probability of failure.
        noise: law of the noise.

    Returns:
        The class with the most votes where p̲ ≥ ½, else abstention.
    """
    return _certify(selection, estimation, alpha, lambda lower: sigma * unit_quantile(lower, noise))


def certify_by_divergence(
    selection: ArrayLike, estimation: ArrayLike, size: float, alpha: float = 0.001
) -> CertifiedPrediction:
    """:func:`certify` with the l2 radius within which no Rényi divergence is large enough to reduce p̲ to ½.

    The divergence of a shift δ is at most ``α‖δ‖²/(2 size²)`` behind Gaussian noise with standard deviation ``size`` and
    behind Laplace noise of scale ``size`` (docs/noise.md).
    """
    orders = np.asarray(ORDERS)

    def radius(lower: Floats) -> Floats:
        return divergence_radius(label_divergence(lower, 1 - lower, orders), orders, size)

    return _certify(selection, estimation, alpha, radius)


def _certify(
    selection: ArrayLike, estimation: ArrayLike, alpha: float, radius_of: Callable[[Floats], Floats]
) -> CertifiedPrediction:
    """Class and p̲ from votes; ``radius_of`` is called with probabilities of at least ½."""
    chosen, counted = np.asarray(selection), np.asarray(estimation)
    if chosen.ndim != 2 or chosen.shape != counted.shape:
        raise InputError(
            f"selection and estimation must both be (images, classes), not {chosen.shape}, {counted.shape}"
        )
    if np.any(chosen.sum(axis=1) < 1):
        raise InputError("selection must hold at least one vote per image")
    best = chosen.argmax(axis=1).astype(np.int64)
    successes = np.take_along_axis(counted, best[:, None], axis=1)[:, 0]
    lower = clopper_pearson(successes, counted.sum(axis=1), alpha).lower
    decided = lower >= 0.5
    radius = np.where(decided, radius_of(np.maximum(lower, 0.5)), 0.0)
    return CertifiedPrediction(np.where(decided, best, ABSTAIN), radius, lower)

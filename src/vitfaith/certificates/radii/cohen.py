"""Certified predictions by randomised smoothing (Cohen, Rosenfeld and Kolter 2019, arXiv 1902.02918, CERTIFY)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri

from vitfaith.certificates.radii.bounds import clopper_pearson
from vitfaith.certificates.radii.top_k import Floats, Integers
from vitfaith.errors import InputError

ABSTAIN = -1
"""The prediction of an image whose class could not be established."""


class CertifiedPrediction(NamedTuple):
    """``prediction`` (B,) int64, :data:`ABSTAIN` where undecided; ``radius`` (B,) l2, 0 there; ``lower`` (B,) p̲."""

    prediction: Integers
    radius: Floats
    lower: Floats


def certify(selection: ArrayLike, estimation: ArrayLike, sigma: float, alpha: float = 0.001) -> CertifiedPrediction:
    """Class and l2 radius ``σ Φ⁻¹(p̲)`` of each smoothed prediction; wrong with probability at most ``alpha`` an image.

    Args:
        selection: (B, C) class counts of the n0 noisy copies that choose the class.
        estimation: (B, C) class counts of the n other copies that bound its probability from below (Clopper-Pearson).
        sigma: standard deviation of the noise, in the units of the input.
        alpha: probability of failure.

    Returns:
        The class with the most votes where p̲ ≥ ½, else abstention.
    """
    chosen, counted = np.asarray(selection), np.asarray(estimation)
    if chosen.ndim != 2 or chosen.shape != counted.shape:
        raise InputError(
            f"selection and estimation must both be (images, classes), not {chosen.shape}, {counted.shape}"
        )
    if np.any(chosen.sum(axis=1) < 1):
        raise InputError("selection must hold at least one vote an image")
    best = chosen.argmax(axis=1).astype(np.int64)
    successes = np.take_along_axis(counted, best[:, None], axis=1)[:, 0]
    lower = clopper_pearson(successes, counted.sum(axis=1), alpha).lower
    decided = lower >= 0.5
    radius = np.where(decided, sigma * ndtri(np.maximum(lower, 0.5)), 0.0)
    return CertifiedPrediction(np.where(decided, best, ABSTAIN), radius, lower)

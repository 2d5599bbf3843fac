"""Quantiles of the noise, the only difference between its laws in certificates of smoothed functions into [0, 1].

For independent noise with a log-concave density, ``Q ∘ f̃`` is 1-Lipschitz in the l1 norm, where Q is the quantile
function of one coordinate of the noise and f̃ any smoothed function into [0, 1]; for Gaussian noise the same holds in l2.
``docs/noise.md`` has the proofs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri

from vitfaith.certificates.radii.top_k import Floats
from vitfaith.certificates.settings import Norm
from vitfaith.errors import InputError
from vitfaith.noise import Noise, scale


def unit_quantile(probability: ArrayLike, noise: Noise) -> Floats:
    """Quantile (...,) of noise with mean 0 and variance 1 at ``probability`` (...,) in [0, 1]; rising, 0 at ½.

    ``gaussian``: Φ⁻¹(p). ``laplace``: ln(2p)/√2 up to ½ and −ln(2(1 − p))/√2 above. ``uniform``: √3 (2p − 1).
    """
    p = np.asarray(probability, dtype=np.float64)
    if noise == "gaussian":
        return np.asarray(ndtri(p))
    if noise == "uniform":
        return scale(noise, 1.0) * (2 * p - 1)
    with np.errstate(divide="ignore"):  # infinite at 0 and 1
        size = np.abs(np.log(2 * np.minimum(p, 1 - p)))  # not -log, which is -0.0 at ½
    return np.where(p < 0.5, -1.0, 1.0) * scale(noise, 1.0) * size


def l2_radius(radius: ArrayLike, norm: Norm, dimensions: int) -> Floats:
    """l2 radius (...,) of a certified ``radius`` (...,): R₁/√d for a radius in l1, since ‖δ‖₁ ≤ √d ‖δ‖₂."""
    if dimensions < 1:
        raise InputError(f"dimensions must be at least 1, not {dimensions}")
    found = np.asarray(radius, dtype=np.float64)
    return found / np.sqrt(dimensions) if norm == "l1" else found

"""Certified radii from the Lipschitz constant of the quantile-transformed smoothed map.

For every function into [0, 1] smoothed with N(0, σ² I), ``x ↦ Φ⁻¹(w̃(x))`` is 1/σ-Lipschitz in the l2 norm (Salman et
al. 2019, Lemma 2; Levine, Singla and Feizi 2019 use it for top-k interpretations). ``docs/certificates.md`` has the
proofs.
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri

from vitfaith.certificates.radii.top_k import Floats, Swap


def _half_gap(high: Floats, low: Floats, sigma: float) -> Floats:
    """``σ/2 (Φ⁻¹(high) - Φ⁻¹(low))`` clipped at 0; values outside [0, 1] are clipped, NaN stays NaN."""
    with np.errstate(invalid="ignore"):  # ∞ - ∞ where both are 0 or both are 1: a tie, replaced below
        gap = ndtri(np.clip(high, 0.0, 1.0)) - ndtri(np.clip(low, 0.0, 1.0))
    undefined = np.isnan(high) | np.isnan(low)
    certified = np.where(high > low, np.maximum(0.5 * sigma * gap, 0.0), 0.0)
    return np.where(undefined, np.nan, certified)


def lipschitz_radius(swap: Swap, sigma: float) -> Floats:
    """l2 radius (...,) inside which fewer than k0 entries leave the top-k set.

    ``R = σ/2 (Φ⁻¹(w_(k-k0+1)) - Φ⁻¹(w_(k+k0)))``. The map needs entries in [0, 1], nothing else. The overlap is kept
    for every ``‖δ‖₂ < R``. Exact values 0 and 1 give an infinite radius, rightly: the smoothed map is then constant.

    Args:
        swap: values in [0, 1] from :func:`vitfaith.certificates.radii.top_k.exact_swap` or ``swap_values``.
        sigma: standard deviation of the noise, in the units of the input ([0, 1] for images).
    """
    return _half_gap(swap.inside[..., 0], swap.outside[..., -1], sigma)


def grouped_radius(swap: Swap, sigma: float, mass: float = 1.0) -> Floats:
    """l2 radius (...,) from sums of entries; never below :func:`lipschitz_radius`.

    When k0 entries fall to or below k0 others, the sum of any j of the former is at most that of any j of the latter.
    The sum of j entries lies in [0, min(j, mass)], so it has a Lipschitz constant of its own, and the best j = 1…k0 is
    taken: ``R = max_j σ/2 (Φ⁻¹(sum of the j largest inside / min(j, mass)) - Φ⁻¹(sum of the j smallest outside / …))``.
    It gains where entries are small against their sum, as in probability vectors.

    Args:
        swap: values in [0, 1].
        sigma: standard deviation of the noise.
        mass: upper bound of the sum of all entries of every base map; 1 for probability vectors.
    """
    inside = np.cumsum(swap.inside, axis=-1)
    outside = np.cumsum(swap.outside[..., ::-1], axis=-1)
    ceiling = np.minimum(np.arange(1, inside.shape[-1] + 1, dtype=np.float64), mass)
    return _half_gap(inside / ceiling, outside / ceiling, sigma).max(axis=-1)

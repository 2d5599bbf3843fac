"""Certified radii from the Lipschitz constant of the quantile-transformed smoothed map.

For every function into [0, 1] smoothed with N(0, σ² I), ``x ↦ Φ⁻¹(w̃(x))`` is 1/σ-Lipschitz in the l2 norm (Salman et
al. 2019, Lemma 2; Levine, Singla and Feizi 2019 use it for top-k interpretations). With the quantiles of Laplace or
uniform noise in place of σΦ⁻¹ it is 1-Lipschitz in l1. ``docs/certificates.md`` and ``docs/noise.md`` have the proofs.
"""

from __future__ import annotations

import numpy as np

from vitfaith.certificates.radii.quantile import unit_quantile
from vitfaith.certificates.radii.top_k import Floats, Swap
from vitfaith.noise import Noise


def _half_gap(high: Floats, low: Floats, sigma: float, noise: Noise) -> Floats:
    """``σ/2 (Q(high) - Q(low))``, Q the noise's unit quantile, clipped at 0; values outside [0, 1] are clipped, NaN stays NaN."""
    with np.errstate(invalid="ignore"):  # ∞ - ∞ where both are 0 or both are 1: a tie, replaced below
        gap = unit_quantile(np.clip(high, 0.0, 1.0), noise) - unit_quantile(np.clip(low, 0.0, 1.0), noise)
    undefined = np.isnan(high) | np.isnan(low)
    certified = np.where(high > low, np.maximum(0.5 * sigma * gap, 0.0), 0.0)
    return np.where(undefined, np.nan, certified)


def lipschitz_radius(swap: Swap, sigma: float, noise: Noise = "gaussian") -> Floats:
    """Radius (...,) inside which fewer than k0 entries leave the top-k set: in l2 for Gaussian noise, else in l1.

    ``R = σ/2 (Φ⁻¹(w_(k-k0+1)) - Φ⁻¹(w_(k+k0)))``; for uniform noise ``λ (w_(k-k0+1) - w_(k+k0))``; for Laplace noise
    with the quantile ``b ln(2w)`` up to ½ and ``-b ln(2(1 - w))`` above in place of ``σΦ⁻¹``. The map needs entries in
    [0, 1], nothing else. The overlap is kept for every ``‖δ‖ < R``. Exact values 0 and 1 give an infinite radius behind
    Gaussian and Laplace noise, rightly: the smoothed map is then constant.

    Args:
        swap: values in [0, 1] from :func:`vitfaith.certificates.radii.top_k.exact_swap` or ``swap_values``.
        sigma: standard deviation of the noise, in the units of the input ([0, 1] for images).
        noise: its law.
    """
    return _half_gap(swap.inside[..., 0], swap.outside[..., -1], sigma, noise)


def grouped_radius(swap: Swap, sigma: float, mass: float = 1.0, noise: Noise = "gaussian") -> Floats:
    """Radius (...,) from sums of entries, in the norm of :func:`lipschitz_radius` and never below it.

    When k0 entries fall to or below k0 others, the sum of any j of the former is at most the sum of any j of the latter.
    The sum of j entries lies in [0, min(j, mass)], so it has its own Lipschitz constant, and the best j = 1…k0 is
    used: ``R = max_j σ/2 (Φ⁻¹(sum of the j largest inside / min(j, mass)) - Φ⁻¹(sum of the j smallest outside / …))``.
    The gain is largest for entries that are small relative to their sum, as in probability vectors.

    Args:
        swap: values in [0, 1].
        sigma: standard deviation of the noise.
        mass: upper bound of the sum of all entries of every base map; 1 for probability vectors.
        noise: its law.
    """
    inside = np.cumsum(swap.inside, axis=-1)
    outside = np.cumsum(swap.outside[..., ::-1], axis=-1)
    ceiling = np.minimum(np.arange(1, inside.shape[-1] + 1, dtype=np.float64), mass)
    return _half_gap(inside / ceiling, outside / ceiling, sigma, noise).max(axis=-1)

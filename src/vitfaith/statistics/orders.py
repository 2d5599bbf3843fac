"""Agreement of two sets of scores on the order of methods: Kendall's τ of the means, with an interval over images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vitfaith.errors import InputError
from vitfaith.statistics.agreement import correlations
from vitfaith.statistics.clusters import Codes, tails
from vitfaith.statistics.intervals import resampled_means
from vitfaith.statistics.precision import snapped

Floats = NDArray[np.float64]


def order_agreement(
    x: Floats, y: Floats, *, codes: Codes | None = None, confidence: float = 0.95, resamples: int = 2000, seed: int = 0
) -> tuple[float, float, float]:
    """Kendall's τ-b between the orders of methods by their means in ``x`` and in ``y``, and its percentile interval.

    Args:
        x, y: (images, methods) finite scores of the same images and methods, larger is better in both.
        codes: (images,) numbers of clusters, which are resampled whole.
        confidence: level of the interval.
        resamples: bootstrap resamples; both sets are resampled together.
        seed: of the resamples.

    Returns:
        τ, low, high; NaN if the means of a set do not vary.

    Raises:
        InputError: the shapes differ, or a score is not finite.
    """
    if x.shape != y.shape or x.ndim != 2 or not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise InputError(f"give finite scores of the same images and methods; shapes are {x.shape} and {y.shape}")
    methods = x.shape[1]
    both = np.concatenate([x, y], 1)
    means = np.concatenate([both.mean(0)[None], resampled_means(both, resamples, seed, codes)])
    first, second = (snapped(part.T).T for part in (means[:, :methods], means[:, methods:]))
    found = correlations(first, second)[:, 0]
    return float(found[0]), *percentile_bounds(found[1:], confidence, codes)


def percentile_bounds(drawn: Floats, confidence: float, codes: Codes | None) -> tuple[float, float]:
    """Percentile interval of the resampled values ``drawn`` (R,), without undefined values.

    NaN if no value is defined, and for a single cluster.
    """
    finite = drawn[np.isfinite(drawn)]
    levels = tails(confidence, codes)
    if not len(finite) or not np.isfinite(levels).all():
        return np.nan, np.nan
    low, high = np.quantile(finite, levels)
    return float(low), float(high)

"""Confidence intervals of means, for many groups at once.

Groups of equal size n share their resamples, which depend only on (seed, n, resamples). So a group's interval does not
depend on the other groups, and intervals of methods scored on the same images vary together.

Written by hand, because SciPy's ``bootstrap`` copies the values of every resample and does not support clusters; here one
matrix product serves all groups.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import sqrt
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vitfaith.errors import InputError
from vitfaith.statistics.clusters import Codes, cluster_codes, cluster_sums, small_sample_level

Method = Literal["bca", "percentile", "t"]
Floats = NDArray[np.float64]

CHUNK = 4_000_000
"""Maximum number of entries in a block of resamples; limits memory without changing the result."""


COLUMNS = 32
"""Columns of values copied at a time; limits memory without changing the result."""


def confidence_interval(
    values: ArrayLike,
    *,
    confidence: float = 0.95,
    method: Method = "bca",
    resamples: int = 2000,
    seed: int = 0,
    clusters: Sequence[Any] | None = None,
) -> tuple[float, float, float]:
    """Mean and two-sided confidence interval of the mean of ``values`` (n,).

    If images share a cluster, whole clusters are resampled, and the level is widened for their number
    (:func:`~vitfaith.statistics.clusters.small_sample_level`).

    Args:
        values: (n,) finite numbers.
        confidence: level in (0, 1).
        method: "bca" (bias-corrected and accelerated bootstrap, Efron 1987), "percentile" bootstrap, or Student's "t".
        resamples: bootstrap resamples.
        seed: key of the resamples.
        clusters: (n,) name of each image's cluster, None for an independent image; by default all images are independent.

    Returns:
        (mean, low, high); all NaN for n = 0, bounds are NaN for n = 1 and for a single cluster; both
        bounds equal the mean if all values are equal.

    Raises:
        InputError: a value is not finite, or an argument is out of range.
    """
    column = np.asarray(values, dtype=np.float64).reshape(-1, 1)
    codes = cluster_codes(clusters)
    mean, low, high = mean_intervals(
        column, confidence=confidence, method=method, resamples=resamples, seed=seed, codes=codes
    )
    return float(mean[0]), float(low[0]), float(high[0])


def mean_intervals(
    values: Floats,
    *,
    confidence: float,
    method: Method,
    resamples: int,
    seed: int,
    codes: Codes | None = None,
    overwrite: bool = False,
) -> tuple[Floats, Floats, Floats]:
    """:func:`confidence_interval` of each column of ``values`` (n, G); returns three arrays (G,).

    ``codes`` are the numbers of the rows' clusters, see :func:`~vitfaith.statistics.clusters.cluster_codes`. With
    ``overwrite`` the array is overwritten instead of copied.
    """
    if not 0 < confidence < 1:
        raise InputError(f"confidence={confidence} must lie between 0 and 1")
    if method not in ("bca", "percentile", "t"):
        raise InputError(f"method='{method}' is not bca, percentile or t")
    if resamples < 1:
        raise InputError(f"resamples={resamples} must be at least 1")
    if not np.isfinite(values).all():
        raise InputError("values hold NaN or infinite numbers; remove them and report their number")
    n, groups = values.shape
    if n == 0:
        return np.full(groups, np.nan), np.full(groups, np.nan), np.full(groups, np.nan)
    constant = values.max(axis=0) == values.min(axis=0)
    mean = np.where(constant, values[0], values.mean(axis=0))
    if n == 1 or (codes is not None and codes.max() == 0):
        return mean, np.full(groups, np.nan), np.full(groups, np.nan)
    centred = np.subtract(values, mean, out=values if overwrite else None)
    if method == "t":
        low, high = _student(centred, confidence, codes)
    else:
        # scaled, so the tolerance of ties below is relative to the scores' magnitude
        scale = np.where(constant, 1.0, np.maximum(centred.max(axis=0), -centred.min(axis=0)))
        centred /= scale
        deviations = resampled_means(centred, resamples, seed, codes)
        # for a mean, the jackknife's influence values are the centred values, or their sums over clusters
        influence = centred if codes is None else cluster_sums(centred, codes)
        level = confidence if codes is None else small_sample_level(confidence, len(influence))
        low, high = bootstrap_bounds(deviations, influence, level, corrected=method == "bca")
        low, high = low * scale, high * scale
    return mean, np.where(constant, mean, mean + low), np.where(constant, mean, mean + high)


def resampled_means(values: Floats, resamples: int, seed: int, codes: Codes | None = None) -> Floats:
    """Means (resamples, G) of the columns of ``values`` (n, G) over rows, or whole clusters, drawn with replacement."""
    if codes is not None:
        sums, sizes = cluster_sums(values, codes), np.bincount(codes)[:, None].astype(np.float64)
        return np.concatenate([(w @ sums) / (w @ sizes) for w in _weights(len(sums), resamples, seed)])
    return np.concatenate([weights @ values for weights in _weights(len(values), resamples, seed)])


def bootstrap_bounds(means: Floats, centred: Floats, confidence: float, *, corrected: bool) -> tuple[Floats, Floats]:
    """Bounds (G,) of the deviation from the mean.

    Args:
        means: (resamples, G) means of resamples of ``centred``.
        centred: (n, G) influence values: values minus their mean, or the sums of these over clusters.
        confidence: level.
        corrected: BCa instead of plain percentiles; if all resamples are on one side of the mean, the correction
            is infinite, and plain percentiles are used.
    """
    from scipy.special import ndtr, ndtri

    tail = (1 - confidence) / 2
    levels = np.repeat([[tail], [1 - tail]], means.shape[1], axis=1)
    if corrected:
        # a resample can have exactly the sample's mean (0/1 scores); rounding must not decide its side
        tolerance = 1e-12
        below = (means < -tolerance).mean(axis=0) + 0.5 * (np.abs(means) <= tolerance).mean(axis=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            acceleration = _powers(centred, 3) / (6 * _powers(centred, 2) ** 1.5)
            bias = ndtri(below)
            shifted = bias + ndtri(levels)
            adjusted = ndtr(bias + shifted / (1 - acceleration * shifted))
        levels = np.where(np.isfinite(bias) & np.isfinite(adjusted), adjusted, levels)
    low, high = _quantiles(np.sort(means, axis=0), levels)
    return low, high


def _powers(values: Floats, power: int) -> Floats:
    """Sums (G,) of a power of the columns of ``values`` (n, G), some columns at a time to save memory."""
    if not values.shape[1]:
        return np.zeros(0)
    # never a single column of several, because NumPy would sum it in another order
    parts = np.array_split(np.arange(values.shape[1]), -(-values.shape[1] // COLUMNS))
    return np.concatenate([(values[:, p[0] : p[-1] + 1] ** power).sum(axis=0) for p in parts])


def wilson(successes: int, n: int, confidence: float, effective: float | None = None) -> tuple[float, float]:
    """Wilson's score interval of a share (Wilson 1927); stays inside [0, 1] and is not empty at 0 or n successes.

    ``effective`` is the number of independent images, if smaller than n (Kish 1965).
    """
    from scipy.stats import norm

    z = float(norm.ppf(0.5 + confidence / 2))
    share = successes / n
    size = n if effective is None else effective
    centre = (share + z * z / (2 * size)) / (1 + z * z / size)
    half = z / (1 + z * z / size) * sqrt(share * (1 - share) / size + z * z / (4 * size * size))
    return max(0.0, centre - half), min(1.0, centre + half)


def _quantiles(ordered: Floats, levels: Floats) -> Floats:
    """Linearly interpolated quantiles (Q, G) of the sorted columns (R, G) at ``levels`` (Q, G)."""
    place = levels * (len(ordered) - 1)
    lower = np.clip(np.floor(place).astype(np.int64), 0, len(ordered) - 1)
    upper = np.minimum(lower + 1, len(ordered) - 1)
    part = place - lower
    return np.take_along_axis(ordered, lower, 0) * (1 - part) + np.take_along_axis(ordered, upper, 0) * part


def _student(centred: Floats, confidence: float, codes: Codes | None = None) -> tuple[Floats, Floats]:
    from scipy.special import stdtrit

    n = len(centred)
    if codes is not None:
        sums = cluster_sums(centred, codes)
        m = len(sums)
        half = stdtrit(m - 1, (1 + confidence) / 2) * np.sqrt(m / (m - 1) * (sums**2).sum(axis=0)) / n
        return -half, half
    error = np.sqrt((centred**2).sum(axis=0) / (n - 1) / n)
    half = stdtrit(n - 1, (1 + confidence) / 2) * error
    return -half, half


def random_source(seed: int, *key: int) -> np.random.Generator:
    """Random numbers of any whole ``seed``, also of one below 0, which NumPy refuses."""
    return np.random.default_rng([seed if seed >= 0 else seed % 2**64, *key])


def _weights(n: int, resamples: int, seed: int) -> Iterator[Floats]:
    """Blocks (r, n) of the shares with which each of n rows occurs in a resample."""
    source = random_source(seed, n, resamples)
    block = max(1, CHUNK // n)
    for start in range(0, resamples, block):
        rows = min(block, resamples - start)
        draws = source.integers(0, n, size=(rows, n)) + n * np.arange(rows)[:, None]
        yield np.bincount(draws.ravel(), minlength=rows * n).reshape(rows, n) / n

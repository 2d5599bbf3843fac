"""Confidence bounds that hold for all entries of a map at once, from finitely many noise samples.

A certificate is about an expectation, but a program has samples. Each bound fails with probability ``failure``; the
Bonferroni correction over entries makes all bounds hold simultaneously. Bounds are one-sided: a certificate needs only one
side per entry if other samples chose the ranking.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import betainccinv, betaincinv, rel_entr

from vitfaith.certificates.radii.top_k import Floats, Integers
from vitfaith.certificates.settings import Bound
from vitfaith.errors import InputError


class Bounds(NamedTuple):
    """``lower`` and ``upper`` (..., n) float64 in [0, 1]; each fails with the stated probability."""

    lower: Floats
    upper: Floats


def _check_failure(failure: float) -> None:
    if not 0 < failure < 1:
        raise InputError(f"alpha (the probability of failure) must lie strictly between 0 and 1, not {failure}")


def clopper_pearson(counts: ArrayLike, trials: ArrayLike, failure: float) -> Bounds:
    """Exact one-sided bounds of a binomial probability (Clopper and Pearson 1934).

    Args:
        counts: (...,) successes, whole numbers in 0…trials.
        trials: (...,) or a number, at least 1.
        failure: probability that the lower bound exceeds the truth; the same for the upper bound.
    """
    _check_failure(failure)
    successes, total = np.broadcast_arrays(np.asarray(counts, dtype=np.float64), np.asarray(trials, dtype=np.float64))
    if np.any(total < 1) or np.any(successes < 0) or np.any(successes > total):
        raise InputError("counts must lie in 0…trials, and trials must be at least 1")
    # Quantiles of the beta law; a second parameter of 0 is replaced, because its result is not used.
    lower = np.where(successes > 0, betaincinv(np.maximum(successes, 1), total - successes + 1, failure), 0.0)
    upper = np.where(successes < total, betainccinv(successes + 1, np.maximum(total - successes, 1), failure), 1.0)
    return Bounds(lower, upper)


def hoeffding(mean: ArrayLike, samples: int, failure: float) -> Bounds:
    """``mean ± sqrt(ln(1/failure) / (2 m))`` (Hoeffding 1963, Theorem 2) for means (..., n) of m samples in [0, 1]."""
    _check_failure(failure)
    centre = np.asarray(mean, dtype=np.float64)
    width = np.sqrt(np.log(1 / failure) / (2 * samples))
    return Bounds(np.maximum(centre - width, 0.0), np.minimum(centre + width, 1.0))


def empirical_bernstein(mean: ArrayLike, variance: ArrayLike, samples: int, failure: float) -> Bounds:
    """``mean ± (sqrt(2 V ln(2/failure) / m) + 7 ln(2/failure) / (3 (m - 1)))`` (Maurer and Pontil 2009, Theorem 4).

    Args:
        mean: (..., n) means of samples in [0, 1].
        variance: (..., n) their unbiased variances V.
        samples: m, at least 2.
        failure: as in :func:`clopper_pearson`.
    """
    _check_failure(failure)
    if samples < 2:
        raise InputError(f"empirical_bernstein needs at least 2 estimation samples, not {samples}")
    centre, spread, log_term = np.asarray(mean, np.float64), np.asarray(variance, np.float64), np.log(2 / failure)
    width = np.sqrt(2 * spread * log_term / samples) + 7 * log_term / (3 * (samples - 1))
    return Bounds(np.maximum(centre - width, 0.0), np.minimum(centre + width, 1.0))


def chernoff(mean: ArrayLike, samples: int, failure: float) -> Bounds:
    """The p with ``m KL(mean ‖ p) = ln(1/failure)`` on either side (Hoeffding 1963, Theorem 1), for means (..., n).

    Never wider than :func:`hoeffding`, and much narrower for entries near 0, as in a map that sums to 1.
    """
    _check_failure(failure)
    centre = np.asarray(mean, dtype=np.float64)
    budget = np.log(1 / failure) / samples

    def solve(end: float) -> Floats:
        near, far = centre.copy(), np.full_like(centre, end)
        for _ in range(60):
            middle = 0.5 * (near + far)
            within = rel_entr(centre, middle) + rel_entr(1 - centre, 1 - middle) <= budget
            near, far = np.where(within, middle, near), np.where(within, far, middle)
        return np.where(np.isnan(centre), np.nan, far)  # the end outside the interval is the safe side

    return Bounds(solve(0.0), solve(1.0))


def round_to_counts(samples: ArrayLike, seed: int) -> Integers:
    """Counts (n,) of samples (m, n) in [0, 1] rounded at random to 0 or 1 with the same mean.

    A value x becomes 1 with probability x, so the counts are binomial with the smoothed map as their probabilities;
    samples of 0 or 1 stay unchanged. ``seed`` belongs to the image (:func:`vitfaith.rng.derive_seed`).
    """
    values = np.asarray(samples, dtype=np.float64)
    return (np.random.default_rng(seed).random(values.shape) < values).sum(axis=0).astype(np.int64)


def fewest_samples(failure: float, bound: Bound) -> int:
    """Smallest number of estimation samples that separates an entry of constant 1 from an entry of constant 0.

    With fewer samples nothing can be certified, for any maps; each one-sided bound may fail with ``failure``.
    """

    def separates(m: int) -> bool:
        ends, none = np.array([1.0, 0.0]), np.zeros(2)
        if bound == "clopper_pearson":
            lower, upper = clopper_pearson(m * ends, m, failure)
        elif bound == "chernoff":
            lower, upper = chernoff(ends, m, failure)
        elif bound == "hoeffding":
            lower, upper = hoeffding(ends, m, failure)
        elif m < 2:
            return False
        else:
            lower, upper = empirical_bernstein(ends, none, m, failure)
        return bool(lower[0] > upper[1])

    most = 1
    while not separates(most):
        most *= 2
    least = most // 2
    while most - least > 1:
        middle = (least + most) // 2
        least, most = (least, middle) if separates(middle) else (middle, most)
    return most


def simultaneous_bounds(samples: ArrayLike, alpha: float, bound: Bound, *, seed: int | None = None) -> Bounds:
    """Bounds of the n expected entries of one map from m samples; the n one-sided statements fail with at most alpha.

    For a set T fixed without these samples: with probability 1 - alpha, ``lower`` holds for every entry of T and
    ``upper`` for every entry outside T.

    Args:
        samples: (m, n), values in [0, 1], independent rows. NaN gives NaN bounds for its entry.
        alpha: probability of failure of all n statements together.
        bound: name of the inequality.
        seed: seed of the random rounding of ``clopper_pearson``; needed unless all samples are 0 or 1.

    Raises:
        InputError: for another shape, values outside [0, 1], too few samples or a missing seed.
    """
    values = np.asarray(samples, dtype=np.float64)
    if values.ndim != 2 or values.shape[0] < 1 or values.shape[1] < 1:
        raise InputError(f"samples must have the shape (samples, entries), not {values.shape}")
    if np.any(values < 0) or np.any(values > 1):
        raise InputError("samples must lie in [0, 1]; vitfaith.certificates.radii.base.base_map makes such maps")
    _check_failure(alpha)
    m, n = values.shape
    share = alpha / n
    mean = values.mean(axis=0)
    if bound == "hoeffding":
        return hoeffding(mean, m, share)
    if bound == "chernoff":
        return chernoff(mean, m, share)
    if bound == "empirical_bernstein":
        return empirical_bernstein(mean, values.var(axis=0, ddof=1) if m > 1 else mean, m, share)
    if bound == "clopper_pearson":
        if seed is None and not np.all((values == 0) | (values == 1) | np.isnan(values)):
            raise InputError("clopper_pearson rounds samples other than 0 and 1 at random; give the image's seed")
        exact = clopper_pearson(round_to_counts(values, seed or 0), m, share)
        missing = np.isnan(mean)
        return Bounds(np.where(missing, np.nan, exact.lower), np.where(missing, np.nan, exact.upper))
    known = "clopper_pearson, chernoff, empirical_bernstein, hoeffding"
    raise InputError(f"unknown bound '{bound}'; known: {known}")

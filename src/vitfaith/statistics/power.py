"""Smallest difference between two methods that a number of images detects."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vitfaith.errors import InputError
from vitfaith.statistics.clusters import Codes, cluster_sums

EFFICIENCY = 3 / np.pi
"""Pitman efficiency of Wilcoxon's signed-rank test against the t-test for normal differences."""


def detectable_difference(
    sd: float, n: float, *, alpha: float = 0.05, power: float = 0.8, clusters: float | None = None
) -> float:
    """Smallest mean difference that the paired test finds with probability ``power``, in the unit of ``sd``.

    It solves the power of the two-sided paired t-test (noncentral t) with n · 3/π images. For normal differences,
    Wilcoxon's signed-rank test has this efficiency; with heavier tails it detects smaller differences. Its smallest
    p-value is 2^(1 − n), reached if all differences have one sign. If this is not below ``alpha``, no difference is ever
    found.

    Args:
        sd: standard deviation of the differences over images.
        n: images.
        alpha: significance level of the test; divide it by the number of tests for Holm's first step.
        power: probability, in (alpha, 1), of finding the difference.
        clusters: number of clusters if images are not independent. The test flips their signs, and they are the degrees of
            freedom.

    Returns:
        The difference; infinite if the sample is too small for any difference (n = 5 at α = .05, n = 10 at α = .05/27).

    Raises:
        InputError: alpha or power is out of range.
    """
    from scipy.optimize import brentq
    from scipy.stats import nct, t

    if not 0 < alpha < power < 1:
        raise InputError(f"alpha={alpha} and power={power} must be 0 < alpha < power < 1")
    units = n if clusters is None else min(n, clusters)
    worth, freedom = n * EFFICIENCY, units * EFFICIENCY - 1
    if freedom <= 1 or 2.0 ** (1 - units) >= alpha:
        return float("inf")
    if not np.isfinite(sd):
        return float("nan")
    critical = t.ppf(1 - alpha / 2, freedom)

    def missing(shift: float) -> float:
        # far out SciPy's lower tail is NaN where it is zero
        return float(nct.sf(critical, freedom, shift) + np.nan_to_num(nct.cdf(-critical, freedom, shift)) - power)

    largest = critical
    while missing(largest) < 0:
        largest *= 1.25
    return float(brentq(missing, 0.0, largest) * sd / np.sqrt(worth))


def spread_of(differences: NDArray[np.float64], codes: Codes | None = None) -> float:
    """Standard deviation (n,) of differences: √n times the standard error of their mean.

    With clusters the standard error is over whole clusters, so the value grows with their correlation. It is never
    below the value for independent images, because a few clusters can agree by chance.
    """
    n = len(differences)
    alone = float(differences.std(ddof=1)) if n > 1 else float("nan")
    if codes is None:
        return alone
    sums = cluster_sums(differences - differences.mean(), codes)
    m = len(sums)
    return max(alone, float(np.sqrt(m / (m - 1) * (sums**2).sum() / n))) if m > 1 else float("nan")

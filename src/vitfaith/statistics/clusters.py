"""Statistics of images that are not independent: clusters are resampled whole, and change sign together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]

EXACT = 50
"""Largest number of clusters with exact sign flips; more clusters use the normal distribution."""


def cluster_codes(clusters: Sequence[Any] | NDArray[np.object_] | pd.Series | None) -> Codes | None:
    """Numbers (n,) of the clusters of n images; None if no two images share a cluster, so nothing has to be done.

    An image without a cluster (None) is a cluster by itself.
    """
    if clusters is None:
        return None
    codes, names = pd.factorize(np.asarray(clusters, dtype=object))
    codes = codes.astype(np.int64)
    alone = codes < 0
    codes[alone] = len(names) + np.arange(int(alone.sum()))
    return None if len(np.unique(codes)) == len(codes) else np.unique(codes, return_inverse=True)[1].astype(np.int64)


def cluster_count(n: int, codes: Codes | None) -> int:
    """How many of n images are independent: the clusters, or all images where none share one."""
    return n if codes is None else int(codes.max()) + 1


def tails(confidence: float, codes: Codes | None) -> list[float]:
    """Lower and upper level of a bootstrap interval, widened for few clusters; NaN for a single cluster."""
    level = confidence if codes is None else small_sample_level(confidence, int(codes.max()) + 1)
    return [(1 - level) / 2, (1 + level) / 2]


def cluster_sums(values: Floats, codes: Codes) -> Floats:
    """Sums (m, …) of ``values`` (n, …) over the images of each cluster."""
    sums = np.zeros((int(codes.max()) + 1, *values.shape[1:]))
    np.add.at(sums, codes, values)
    return sums


def cluster_signed_rank(differences: Floats, codes: Codes) -> tuple[float, float]:
    """Wilcoxon's signed-rank statistic and its two-sided p-value when the images of a cluster change sign together.

    Under the null hypothesis the differences of a whole cluster are as likely as their negatives. The sum of signed ranks
    is then Σ ± R_c, with R_c the sum in cluster c. Up to :data:`EXACT` clusters the p-value is exact over all 2^m sign
    patterns; beyond, it uses the normal distribution with variance Σ R_c². With one image in each cluster this is the exact Wilcoxon test
    (Rosner, Glynn and Lee 2006, Biometrics 62).

    Args:
        differences: (n,) finite numbers; zeros are dropped; with only zeros, p is 1.
        codes: (n,) numbers of the clusters.
    """
    from scipy.special import ndtr
    from scipy.stats import rankdata

    kept = differences != 0
    if not kept.any():
        return 0.0, 1.0
    ranks = rankdata(np.abs(differences[kept]))
    # average ranks are multiples of 1/2, so twice the ranks are exact integers
    doubled = np.rint(2 * cluster_sums(np.sign(differences[kept]) * ranks, codes[kept])).astype(np.int64)
    total, observed = round(2 * float(ranks.sum())), int(abs(doubled.sum()))
    statistic = (total - observed) / 4
    steps = np.abs(doubled[doubled != 0])
    if len(steps) > EXACT:
        return statistic, float(2 * ndtr(-observed / np.sqrt(float((steps.astype(float) ** 2).sum()))))
    chances = np.ones(1)  # of the sums −s, −s + 2, …, s of the steps so far
    for step in steps:
        chances = 0.5 * (np.pad(chances, (step, 0)) + np.pad(chances, (0, step)))
    sums = 2 * np.arange(len(chances)) - (len(chances) - 1)
    return statistic, float(min(1.0, chances[np.abs(sums) >= observed].sum()))


def small_sample_level(confidence: float, clusters: int) -> float:
    """Level of a bootstrap interval over few clusters with the coverage of Student's interval at ``confidence``.

    A bootstrap of m clusters uses the normal quantile and a spread that is too small by √((m − 1)/m); the expanded
    interval takes Student's quantile times √(m/(m − 1)) instead (Hesterberg 2015, The American Statistician 69).
    """
    from scipy.special import ndtr, stdtrit

    if clusters < 2:
        return float("nan")
    quantile = float(stdtrit(clusters - 1, (1 + confidence) / 2)) * np.sqrt(clusters / (clusters - 1))
    return float(2 * ndtr(quantile) - 1)


def effective_size(values: Floats, codes: Codes | None) -> float:
    """Number of independent images with as much information about the mean as the n ``values`` (Kish 1965); at most n.

    If all values are equal, the result is the number of clusters.
    """
    n = len(values)
    if codes is None:
        return float(n)
    m, centred = int(codes.max()) + 1, values - values.mean()
    spread = float((centred**2).sum())
    if spread == 0 or m < 2:
        return float(m)
    return min(float(n), spread / (m / (m - 1) * float((cluster_sums(centred, codes) ** 2).sum())) * n)

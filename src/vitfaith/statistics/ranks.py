"""Mean ranks of methods over images, with Friedman's test and Nemenyi's critical difference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vitfaith.errors import InputError
from vitfaith.registry import Better
from vitfaith.statistics.clusters import cluster_codes, cluster_sums
from vitfaith.statistics.common import COVERAGE, comparable
from vitfaith.statistics.precision import snapped


@dataclass(frozen=True)
class MeanRanks:
    """Result of :func:`friedman_nemenyi`.

    Attributes:
        ranks: mean rank of each method, best (lowest) first.
        critical_difference: smaller differences of mean ranks are not significant at level ``alpha``.
        statistic, p: Friedman's chi-square with k − 1 degrees of freedom and its p-value.
        n: images on which every compared method has a finite value, or clusters of them (``unit``).
        dropped: images omitted because some compared method has no value.
        below: methods with too few images to be compared, and their number of images.
        alpha: family-wise level.
    """

    ranks: pd.Series
    critical_difference: float
    statistic: float
    p: float
    n: int
    dropped: int
    alpha: float
    unit: str = "images"
    below: Mapping[str, int] = field(default_factory=dict)

    def groups(self) -> list[tuple[str, ...]]:
        """Largest runs of methods, best first, without a significant difference; single methods are omitted."""
        names, ranks = list(self.ranks.index), self.ranks.to_numpy()
        found: list[tuple[int, int]] = []
        for first in range(len(names)):
            last = int(np.searchsorted(ranks, ranks[first] + self.critical_difference, side="left")) - 1
            if last > first and (not found or last > found[-1][1]):
                found.append((first, last))
        return [tuple(names[first : last + 1]) for first, last in found]


def friedman_nemenyi(
    table: pd.DataFrame,
    *,
    direction: Better = "higher",
    alpha: float = 0.05,
    coverage: float = COVERAGE,
    clusters: Mapping[str, str | None] | None = None,
) -> MeanRanks:
    """Rank the methods on each image (1 = best, ties share their mean rank) and compare the mean ranks.

    Values within the precision of the scores are tied (:func:`~vitfaith.statistics.precision.snapped`). The critical
    difference is q(α, k) √(k(k+1)/(6n)) with q the studentized range over √2 (Demšar 2006,
    JMLR 7).

    Args:
        table: one row per method, one column per image.
        direction: whether "higher" or "lower" values are better.
        alpha: family-wise error of Nemenyi's test.
        coverage: see :func:`~vitfaith.statistics.common.common_images`.
        clusters: image → its cluster, None for an independent image. If images share a cluster, the methods are ranked on
            the means over clusters, which are independent, and n counts clusters.

    Raises:
        InputError: fewer than two methods can be compared, or no image has a finite value from all of them.
    """
    from scipy.stats import rankdata, studentized_range

    kept, below, found = comparable(table, coverage)
    values, dropped = kept.to_numpy(dtype=np.float64), table.shape[1] - kept.shape[1]
    codes = None if clusters is None else cluster_codes([clusters.get(image) for image in kept.columns])
    if codes is not None:
        values = (cluster_sums(values.T, codes) / np.bincount(codes)[:, None]).T
    values = snapped(values)
    k, n = values.shape
    if k < 2 or n == 0:
        raise InputError(f"ranks need at least two methods and one image with values from all of them, not {k} and {n}")
    ranks = rankdata(-values if direction == "higher" else values, axis=0)
    mean = ranks.mean(axis=1)
    statistic, p = _friedman(ranks)
    critical = float(studentized_range.ppf(1 - alpha, k, np.inf) / np.sqrt(2) * np.sqrt(k * (k + 1) / (6 * n)))
    return MeanRanks(
        ranks=pd.Series(mean, index=kept.index).sort_values(kind="stable"),
        critical_difference=critical,
        statistic=statistic,
        p=p,
        n=n,
        dropped=dropped,
        alpha=alpha,
        unit="images" if codes is None else "clusters",
        below=dict(zip(below, map(int, found.own[~found.compared]), strict=True)),
    )


def _friedman(ranks: NDArray[np.float64]) -> tuple[float, float]:
    """Friedman's chi-square of ``ranks`` (k, n), corrected for ties (Conover 1999), and its p-value."""
    from scipy.stats import chisquare, friedmanchisquare

    if (ranks == ranks[0]).all():  # all methods tie on every image: 0/0 in the formula
        return 0.0, 1.0
    # SciPy's test needs three methods; for two, Friedman's statistic is the chi-square of their wins
    result = friedmanchisquare(*ranks) if len(ranks) > 2 else chisquare((ranks == 1).sum(axis=1))
    return float(result.statistic), float(result.pvalue)

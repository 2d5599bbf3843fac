"""Tests of one method against another on the same images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from vitfaith.errors import InputError
from vitfaith.statistics.clusters import Codes, cluster_codes, cluster_signed_rank
from vitfaith.statistics.common import COVERAGE, comparable
from vitfaith.statistics.intervals import Method, mean_intervals
from vitfaith.statistics.precision import snapped

COLUMNS = ["method", "opponent", "n", "difference", "low", "high", "statistic", "p", "p_adjusted"]


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """p-values adjusted for their number by Holm's step-down method (1979); NaN stays NaN and does not count.

    Written by hand, because statsmodels' ``multipletests`` runs the garbage collector in each call (50 ms and more), and a study
    has hundreds of calls.
    """
    p = np.asarray(p_values, dtype=np.float64)
    adjusted = np.full_like(p, np.nan)
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    factors = len(order) - np.arange(len(order))
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * factors), 1.0)
    return adjusted


def paired_tests(
    table: pd.DataFrame,
    *,
    confidence: float = 0.95,
    method: Method = "bca",
    resamples: int = 2000,
    seed: int = 0,
    clusters: Mapping[str, str | None] | None = None,
) -> pd.DataFrame:
    """Wilcoxon signed-rank test of every pair of methods, Holm-adjusted over the pairs.

    A pair omits images on which one of its methods has no finite value; ``n`` is the number of remaining images.
    Differences within the precision of the scores (:func:`~vitfaith.statistics.precision.snapped`) are zero. The test
    drops zeros, as Wilcoxon (1945) did; if all are zero, p is 1.

    Args:
        table: one row per method, one column per image.
        confidence, method, resamples, seed: of the interval of the mean difference, see
            :func:`~vitfaith.statistics.intervals.confidence_interval`.
        clusters: image → its cluster, None for an independent image. The differences of a cluster are resampled and change
            sign together (:func:`~vitfaith.statistics.clusters.cluster_signed_rank`); by default all images are independent.

    Returns:
        One row per pair in the order of the rows of ``table``: method, opponent, n, difference (mean of method −
        opponent), low, high, statistic, p (two-sided) and p_adjusted; NaN where n = 0.
    """
    values = table.to_numpy(dtype=np.float64)
    pairs = list(combinations(range(len(table)), 2))
    numbers = paired_differences(
        ((values[first], values[second]) for first, second in pairs),
        None if clusters is None else np.array([clusters.get(image) for image in table.columns], dtype=object),
        confidence=confidence,
        method=method,
        resamples=resamples,
        seed=seed,
    )
    frame = numbers.assign(
        **{name: [table.index[pair[side]] for pair in pairs] for side, name in enumerate(COLUMNS[:2])}
    )
    return frame.assign(p_adjusted=holm(frame["p"]))[COLUMNS]


def paired_differences(
    pairs: Iterable[tuple[NDArray[np.float64], NDArray[np.float64]]],
    clusters: NDArray[np.object_] | None = None,
    *,
    confidence: float = 0.95,
    method: Method = "bca",
    resamples: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """Mean paired difference of each of ``pairs``, its interval and Wilcoxon's test, as in :func:`paired_tests`.

    Args:
        pairs: values (N,) of two methods or conditions on the same images; NaN without a value.
        clusters: (N,) cluster per image, None for an independent image; by default all images are independent.
        confidence, method, resamples, seed: see :func:`paired_tests`.

    Returns:
        One row per pair: n, difference (mean of first − second), low, high, statistic and p; NaN where n = 0.
    """
    from scipy.stats import wilcoxon

    differences, codes = [], []
    for pair in pairs:
        first, second = snapped(np.stack(pair))
        kept = np.isfinite(first - second)
        differences.append((first - second)[kept])
        codes.append(None if clusters is None else cluster_codes(clusters[kept]))
    settings = {"confidence": confidence, "method": method, "resamples": resamples, "seed": seed}
    rows = []
    for difference, code, interval in zip(differences, codes, _intervals(differences, codes, **settings), strict=True):
        if not len(difference):
            statistic = p = np.nan
        elif not difference.any():
            statistic, p = 0.0, 1.0
        elif code is not None:
            statistic, p = cluster_signed_rank(difference, code)
        else:
            result = wilcoxon(difference)
            statistic, p = float(result.statistic), float(result.pvalue)
        rows.append((len(difference), *interval, statistic, p))
    return pd.DataFrame(rows, columns=COLUMNS[2:-1])


def _intervals(
    samples: Sequence[NDArray[np.float64]], codes: Sequence[Codes | None], **settings: Any
) -> NDArray[np.float64]:
    """Mean, low and high (len(samples), 3) of each sample; samples of one size share their resamples, drawn once."""
    sizes = np.array([len(sample) for sample in samples], dtype=np.int64)
    result = np.full((len(samples), 3), np.nan)
    for size in np.unique(sizes):
        chosen = np.flatnonzero(sizes == size)
        result[chosen] = np.stack(
            mean_intervals(np.stack([samples[int(i)] for i in chosen], axis=1), **settings), axis=1
        )
    for i, code in enumerate(codes):
        if code is not None:
            result[i] = np.concatenate(mean_intervals(samples[i][:, None], codes=code, **settings))
    return result


def paired_comparisons(
    scores: pd.DataFrame,
    by: Sequence[str],
    *,
    coverage: float = COVERAGE,
    confidence: float = 0.95,
    method: Method = "bca",
    resamples: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """:func:`paired_tests` within every combination of the columns ``by``, in both directions.

    All tests of a group use the images for which all compared methods have a value; a method below the line has rows with n = 0.

    Args:
        scores: one row per (``by``, method, image_id) with ``value``, and ``cluster`` where images are not independent.
        by: columns that make a family of tests (condition, metric, variant …): Holm's method adjusts over its pairs;
            :func:`against` adjusts over the tests against one method instead.
        coverage: see :func:`~vitfaith.statistics.common.common_images`.
        confidence, method, resamples, seed: see :func:`paired_tests`.

    Returns:
        Columns ``by`` and the columns of :func:`paired_tests`, one row per ordered pair of methods; swapping a pair
        changes the sign of the difference and swaps its bounds.

    Raises:
        InputError: a method has two values for one image in a group; the text names them.
    """
    by = list(by)
    repeated = scores.duplicated([*by, "method", "image_id"])
    if repeated.any():
        row = scores[repeated].iloc[0]
        raise InputError(
            f"scores have two rows for method '{row.method}' and image '{row.image_id}' in one group of {by}"
        )
    parts = []
    for key, group in scores.groupby(by, sort=True, observed=True, dropna=False):
        table = group.pivot(index="method", columns="image_id", values="value").sort_index().sort_index(axis=1)
        clusters = dict(zip(group["image_id"], group["cluster"], strict=True)) if "cluster" in group else None
        both = compare_all(
            table,
            clusters,
            coverage=coverage,
            confidence=confidence,
            method=method,
            resamples=resamples,
            seed=seed,
        )
        names: dict[str, Any] = dict(zip(by, key, strict=True))
        parts.append(both.assign(**names)[[*by, *COLUMNS]])
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=[*by, *COLUMNS])


def compare_all(
    table: pd.DataFrame,
    clusters: Mapping[str, str | None] | None = None,
    *,
    coverage: float = COVERAGE,
    **settings: Any,
) -> pd.DataFrame:
    """:func:`paired_tests` in both directions, on the images for which all compared methods have a value.

    Args:
        table: one row per method and one column per image, both sorted; NaN without a value.
        clusters, settings: as in :func:`paired_tests`.
        coverage: see :func:`~vitfaith.statistics.common.common_images`.

    Returns:
        One row per ordered pair of methods, sorted; n = 0 for a method below the line.
    """
    tests = paired_tests(comparable(table, coverage)[0].reindex(table.index), clusters=clusters, **settings)
    mirrored = tests.assign(
        method=tests.opponent,
        opponent=tests.method,
        difference=-tests.difference,
        low=-tests.high,
        high=-tests.low,
    )
    return pd.concat([tests, mirrored], ignore_index=True).sort_values(["method", "opponent"], ignore_index=True)


def against(comparisons: pd.DataFrame, opponent: str, by: Sequence[str]) -> pd.DataFrame:
    """The rows of :func:`paired_comparisons` against ``opponent``, with ``p_adjusted`` by Holm over these rows.

    Args:
        comparisons: rows with method, opponent, p and the columns ``by``.
        by: columns that make a family: the M − 1 tests of the other methods.
    """
    rows = comparisons[comparisons["opponent"].astype(str) == opponent]
    return rows.assign(p_adjusted=holm_within(rows, by))


def holm_within(rows: pd.DataFrame, by: Sequence[str]) -> NDArray[np.float64]:
    """The column ``p`` of ``rows`` adjusted by :func:`holm` within every combination of the columns ``by``."""
    adjusted = np.full(len(rows), np.nan)
    groups = rows.groupby(list(by), sort=False, observed=True, dropna=False).ngroup().to_numpy()
    p = rows["p"].to_numpy(dtype=np.float64)
    for group in np.unique(groups):
        adjusted[groups == group] = holm(p[groups == group])
    return adjusted


def finished(rows: pd.DataFrame, by: Sequence[str], confidence: float) -> pd.DataFrame:
    """Tests of several families as a table has them: ``p_adjusted`` within ``by``, no negative zeros, and the level."""
    numbers = rows[["difference", "low", "high"]] + 0.0
    return rows.assign(**numbers, p_adjusted=holm_within(rows, by), confidence=confidence)

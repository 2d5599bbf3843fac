"""Mean, interval and number of images of every group of scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vitfaith.errors import InputError
from vitfaith.statistics.clusters import Codes, cluster_codes, cluster_count
from vitfaith.statistics.common import COVERAGE, mark_common
from vitfaith.statistics.intervals import COLUMNS, Floats, Method, mean_intervals

NUMBERS = [
    *("n", "clusters", "flagged", "mean", "low", "high", "sd", "confidence", "compared", "asked"),
    *("n_own", "mean_own", "low_own", "high_own"),
]
"""Columns of :func:`summarise_compared` beside the columns of its groups."""

BLOCK = 1024
"""Maximum number of groups whose resampled means are in memory at once."""

ENTRIES = BLOCK * 65536
"""Maximum number of values in a block (512 MiB); groups with more than 65,536 values are processed in smaller blocks."""


def summarise(
    scores: pd.DataFrame,
    by: Sequence[str],
    *,
    confidence: float = 0.95,
    method: Method = "bca",
    resamples: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """Summary of the column ``value`` for every combination of the columns ``by`` that occurs, sorted by them.

    If there is a column ``image_id``, the rows of a group are ordered by it, so the order of ``scores`` does not
    matter. If there is a column ``cluster``, intervals are over whole clusters of images.

    Args:
        scores: one row per image, with ``value`` (not finite if the image is flagged).
        by: columns that make a group.
        confidence, method, resamples, seed: see :func:`~vitfaith.statistics.intervals.confidence_interval`.

    Returns:
        Columns ``by``, ``n`` (images with a finite value), ``clusters`` (how many of them are independent: clusters, or n
        without any), ``flagged`` (images without a value), ``mean``, ``low``, ``high``, ``sd`` (n − 1 in the denominator)
        and ``confidence``. Means are NaN for n = 0; bounds and sd for n ≤ 1.

    Raises:
        InputError: a column is missing, or an argument is out of range.
    """
    by = list(by)
    missing = [name for name in [*by, "value"] if name not in scores.columns]
    if missing or not by:
        raise InputError(f"scores lack the column '{missing[0]}'" if missing else "by must name at least one column")
    groups = scores.groupby(by, sort=True, observed=True, dropna=False)
    number = groups.ngroup().to_numpy()
    keys = scores.assign(_group=number).drop_duplicates("_group").sort_values("_group")[by].reset_index(drop=True)
    order = [scores["image_id"].astype(str).to_numpy()] if "image_id" in scores.columns else []
    place = np.lexsort([*order, number])
    number, values = number[place], scores["value"].to_numpy(dtype=np.float64)[place]
    finite = np.isfinite(values)
    flagged = np.bincount(number[~finite], minlength=len(keys))
    cluster = scores["cluster"].to_numpy(dtype=object)[place][finite] if "cluster" in scores.columns else None
    samples = _InMemory(np.bincount(number[finite], minlength=len(keys)), values[finite], cluster)
    numbers = sample_numbers(samples, confidence=confidence, method=method, resamples=resamples, seed=seed)
    counts = {"n": samples.n.astype(np.int64), "flagged": flagged.astype(np.int64)}
    found = keys.assign(**counts, **numbers, confidence=float(confidence))
    return found[[*by, *(name for name in NUMBERS if name in found)]]


class Samples(Protocol):
    """The finite values of many groups, from any storage.

    Attributes:
        n: (K,) int64, number of values per group.
    """

    n: NDArray[np.int64]

    def block(self, groups: NDArray[np.int64]) -> Floats:
        """A new array (n, G) float64 in column order: the values of groups of equal size, each ordered by image."""
        ...

    def codes(self, group: int) -> Codes | None:
        """Numbers (n,) of the clusters of a group's values, None if no two values share a cluster."""
        ...


class _InMemory:
    """Consecutive groups in one array."""

    def __init__(self, n: NDArray[np.int64], values: Floats, cluster: NDArray[np.object_] | None) -> None:
        self.n, self._values, self._cluster = n, values, cluster
        self._start = np.concatenate([[0], np.cumsum(n)[:-1]]).astype(np.int64) if len(n) else np.zeros(0, np.int64)

    def block(self, groups: NDArray[np.int64]) -> Floats:
        found = np.empty((self.n[groups[0]] if len(groups) else 0, len(groups)), order="F")
        for column, group in enumerate(groups):
            found[:, column] = self._values[self._of(int(group))]
        return found

    def codes(self, group: int) -> Codes | None:
        return None if self._cluster is None else cluster_codes(self._cluster[self._of(group)])

    def _of(self, group: int) -> slice:
        return slice(self._start[group], self._start[group] + self.n[group])


def sample_numbers(
    samples: Samples, *, confidence: float, method: Method = "bca", resamples: int, seed: int
) -> dict[str, NDArray[Any]]:
    """``clusters``, ``mean``, ``low``, ``high`` and ``sd`` (K,) of every group of ``samples``, see :func:`summarise`.

    Groups of equal size are processed together, so the last bit of a number can depend on the number and order of groups
    with its size. Memory holds one block of values at a time.
    """
    settings: dict[str, Any] = {"confidence": confidence, "method": method, "resamples": resamples, "seed": seed}
    found: dict[str, NDArray[Any]] = {name: np.full(len(samples.n), np.nan) for name in ("mean", "low", "high", "sd")}
    found["clusters"] = samples.n.astype(np.int64)
    for size in np.unique(samples.n):
        chosen = np.flatnonzero(samples.n == size)
        most = min(BLOCK, max(2, ENTRIES // max(1, int(size))))
        for part in np.array_split(chosen, -(-len(chosen) // most)):
            block = samples.block(part)
            if size > 1:
                found["sd"][part] = _spread(block)
            numbers = mean_intervals(block, **settings, overwrite=True)
            for name, column in zip(("mean", "low", "high"), numbers, strict=True):
                found[name][part] = column
            for group in part if size > 1 else ():
                codes = samples.codes(int(group))
                if codes is not None:
                    found["clusters"][group] = cluster_count(len(codes), codes)
                    numbers = mean_intervals(samples.block(np.array([group])), **settings, codes=codes)
                    for name, column in zip(("mean", "low", "high"), numbers, strict=True):
                        found[name][group] = float(column[0])
    return found


def _spread(block: Floats) -> Floats:
    """Standard deviations (G,) of the columns of ``block`` (n, G), with squares summed row by row."""
    parts = np.array_split(np.arange(block.shape[1]), -(-block.shape[1] // COLUMNS))
    return np.concatenate([np.ascontiguousarray(block[:, p[0] : p[-1] + 1]).std(axis=0, ddof=1) for p in parts])


def summarise_compared(
    scores: pd.DataFrame,
    by: Sequence[str],
    *,
    within: Sequence[str] | None = None,
    coverage: float = COVERAGE,
    **settings: Any,
) -> pd.DataFrame:
    """:func:`summarise` of methods on the images that all compared methods have, and each method's mean over its own images.

    Args:
        scores: one row per image, with method, image_id and value.
        by: columns that make a group, ``method`` among them.
        within: columns within which methods are compared; default: ``by`` without method. With fewer columns, groups (for
            example, the steps of a curve) share their images.
        coverage: see :func:`~vitfaith.statistics.common.common_images`.
        settings: settings of the intervals, as in :func:`summarise`.

    Returns:
        The columns of :func:`summarise`, where n, clusters, mean, low, high and sd are over the common images (n = 0 and NaN for a
        method below the line) and ``flagged`` counts the method's own images without a value; ``compared`` (whether the
        method is above the line), ``asked`` (images with a value from any method), and ``n_own``, ``mean_own``,
        ``low_own``, ``high_own`` over the method's own images.
    """
    by = list(by)
    keys = [name for name in by if name != "method"] if within is None else list(within)
    marked = mark_common(scores, keys, coverage)
    own = summarise(marked, by, **settings)
    shared = summarise(marked[marked["common"]], by, **settings)
    return beside_own(own, shared, marked.drop_duplicates(by)[[*by, "compared", "asked"]], by)


def beside_own(own: pd.DataFrame, shared: pd.DataFrame, facts: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """One row per row of ``own``: numbers over common images from ``shared``, and its own numbers with the suffix ``_own``.

    ``facts`` has compared and asked for every combination of its columns ``by``.
    """
    by, numbers = list(by), ["n", "clusters", "mean", "low", "high", "sd"]
    shared = shared.astype({name: own[name].dtype for name in by})
    found = own[[*by, "flagged", "confidence"]].merge(shared[[*by, *numbers]], on=by, how="left", validate="1:1")
    found = found.merge(facts, on=[name for name in by if name in facts], how="left", validate="m:1")
    found = found.assign(**{name: found[name].fillna(0).astype(np.int64) for name in ("n", "clusters")})
    found = found.assign(**{f"{name}_own": own[name].to_numpy() for name in ("n", "mean", "low", "high")})
    return found[[*by, *NUMBERS]]

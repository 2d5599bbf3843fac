"""Mean, interval and number of images of every group of scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from vitfaith.errors import InputError
from vitfaith.statistics.clusters import cluster_codes
from vitfaith.statistics.common import COVERAGE, mark_common
from vitfaith.statistics.intervals import Method, mean_intervals

NUMBERS = [
    *("n", "flagged", "mean", "low", "high", "sd", "confidence", "compared", "asked"),
    *("n_own", "mean_own", "low_own", "high_own"),
]
"""Columns of :func:`summarise_compared` beside those of its groups."""

BLOCK = 1024
"""Most groups whose resampled means are in memory at once."""


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

    Within a group the rows are ordered by ``image_id`` where there is such a column, so the order of ``scores`` does
    not matter. Where there is a column ``cluster``, intervals are over whole clusters of images.

    Args:
        scores: one row an image, with ``value`` (not finite where the image is flagged).
        by: columns that make a group.
        confidence, method, resamples, seed: see :func:`~vitfaith.statistics.intervals.confidence_interval`.

    Returns:
        Columns ``by``, ``n`` (images with a finite value), ``flagged`` (images without), ``mean``, ``low``, ``high``,
        ``sd`` (n − 1 in the denominator) and ``confidence``. Means are NaN for n = 0; bounds and sd for n ≤ 1.

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
    count = len(keys)
    n = np.bincount(number[finite], minlength=count)
    flagged = np.bincount(number[~finite], minlength=count)
    number, values = number[finite], values[finite]
    cluster = scores["cluster"].to_numpy(dtype=object)[place][finite] if "cluster" in scores.columns else None
    start = np.concatenate([[0], np.cumsum(n)[:-1]]).astype(np.int64) if count else np.zeros(0, dtype=np.int64)
    mean, low, high, sd = (np.full(count, np.nan) for _ in range(4))
    for size in np.unique(n):
        chosen = np.flatnonzero(n == size)
        block = values[start[chosen] + np.arange(size)[:, None]] if size else np.zeros((0, len(chosen)))
        for part in np.array_split(np.arange(len(chosen)), -(-len(chosen) // BLOCK)):
            mean[chosen[part]], low[chosen[part]], high[chosen[part]] = mean_intervals(
                block[:, part], confidence=confidence, method=method, resamples=resamples, seed=seed
            )
        if cluster is not None and size > 1:
            for i, where in enumerate(chosen):
                codes = cluster_codes(cluster[start[where] : start[where] + size])
                if codes is not None:
                    found = mean_intervals(
                        block[:, i : i + 1],
                        confidence=confidence,
                        method=method,
                        resamples=resamples,
                        seed=seed,
                        codes=codes,
                    )
                    mean[where], low[where], high[where] = (float(part[0]) for part in found)
        if size > 1:
            sd[chosen] = block.std(axis=0, ddof=1)
    return keys.assign(
        n=n.astype(np.int64),
        flagged=flagged.astype(np.int64),
        mean=mean,
        low=low,
        high=high,
        sd=sd,
        confidence=float(confidence),
    )


def summarise_compared(
    scores: pd.DataFrame,
    by: Sequence[str],
    *,
    within: Sequence[str] | None = None,
    coverage: float = COVERAGE,
    **settings: Any,
) -> pd.DataFrame:
    """:func:`summarise` of methods on the images that all compared methods have, with each method's own mean beside.

    Args:
        scores: one row an image, with method, image_id and value.
        by: columns that make a group, ``method`` among them.
        within: columns within which methods are compared; without it those of ``by`` but method. Fewer of them make
            groups (the steps of a curve) share their images.
        coverage: see :func:`~vitfaith.statistics.common.common_images`.
        settings: of the intervals, as in :func:`summarise`.

    Returns:
        The columns of :func:`summarise`, where n, mean, low, high and sd are over the common images (n = 0 and NaN for a
        method below the line) and ``flagged`` counts the method's own images without a value; ``compared`` (whether the
        method is above the line), ``asked`` (images that any method has a value for), and ``n_own``, ``mean_own``,
        ``low_own``, ``high_own`` over the images of the method alone.
    """
    by = list(by)
    keys = [name for name in by if name != "method"] if within is None else list(within)
    marked = mark_common(scores, keys, coverage)
    own = summarise(marked, by, **settings)
    shared = summarise(marked[marked["common"]], by, **settings)
    return beside_own(own, shared, marked.drop_duplicates(by)[[*by, "compared", "asked"]], by)


def beside_own(own: pd.DataFrame, shared: pd.DataFrame, facts: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """One row for each row of ``own``: numbers over common images from ``shared``, its own with the suffix ``_own``.

    ``facts`` has compared and asked for every combination of those columns ``by`` that it has.
    """
    by, numbers = list(by), ["n", "mean", "low", "high", "sd"]
    shared = shared.astype({name: own[name].dtype for name in by})
    found = own[[*by, "flagged", "confidence"]].merge(shared[[*by, *numbers]], on=by, how="left", validate="1:1")
    found = found.merge(facts, on=[name for name in by if name in facts], how="left", validate="m:1")
    found["n"] = found["n"].fillna(0).astype(np.int64)
    found = found.assign(**{f"{name}_own": own[name].to_numpy() for name in ("n", "mean", "low", "high")})
    return found[[*by, *NUMBERS]]

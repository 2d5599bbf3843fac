"""Metrics whose score is one of the whole data set: sums over images are divided, not scores averaged."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pandas as pd

from vitfaith.statistics import COVERAGE, mark_common, segmentation_scores, side_scores
from vitfaith.statistics.summary import NUMBERS, beside_own
from vitfaith.tables.collect import CONDITION

KEYS = [*CONDITION, "method", "reference", "metric", "variant"]

POOLS: Mapping[str, Callable[..., pd.DataFrame]] = {"segmentation": segmentation_scores, "side": side_scores}
"""Trait ``pooled`` of a metric → what makes the scores of the data set from its rows."""


def pooled_summary(
    counts: pd.DataFrame,
    how: Mapping[str, str],
    *,
    confidence: float,
    resamples: int,
    seed: int,
    coverage: float = COVERAGE,
) -> pd.DataFrame:
    """Summary rows of metrics that have one score a data set, from their per-image rows.

    Args:
        counts: rows (condition, image_id, method, metric, variant, value); ``metric`` holds one or more ids.
        how: metric id → a key of :data:`POOLS`.
        confidence, resamples, seed: of the intervals, percentiles over resampled images.
        coverage: see :func:`~vitfaith.statistics.common.common_images`; an image counts where all numbers of a metric
            are finite.

    Returns:
        Columns as in the table ``summary``; the variants are the names of the scores (pixel_accuracy, consistency …).
    """
    parts = []
    by = [*CONDITION, "method"]
    settings = {"confidence": confidence, "resamples": resamples, "seed": seed}
    for id_, group in counts.groupby("metric", observed=True, sort=True):
        marked = mark_common(group, CONDITION, coverage)
        pool = POOLS[how[str(id_)]]
        own, shared = pool(marked, by, **settings), pool(marked[marked["common"]], by, **settings)
        facts = marked.drop_duplicates(by)[[*by, "compared", "asked"]].astype(dict.fromkeys(by, "str"))
        whole = beside_own(own.astype(dict.fromkeys(by, "str")), shared, facts, [*by, "metric"])
        parts.append(whole.assign(reference="", variant=whole.metric, metric=str(id_)))
    columns = [*KEYS, *NUMBERS]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)

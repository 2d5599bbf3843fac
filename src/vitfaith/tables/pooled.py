"""Metrics whose score is one of the whole data set: sums over images are divided, not scores averaged."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pandas as pd

from vitfaith.statistics import segmentation_scores, side_scores
from vitfaith.tables.collect import CONDITION

KEYS = [*CONDITION, "method", "reference", "metric", "variant"]

POOLS: Mapping[str, Callable[..., pd.DataFrame]] = {"segmentation": segmentation_scores, "side": side_scores}
"""Trait ``pooled`` of a metric → what makes the scores of the data set from its rows."""


def pooled_summary(
    counts: pd.DataFrame, how: Mapping[str, str], *, confidence: float, resamples: int, seed: int
) -> pd.DataFrame:
    """Summary rows of metrics that have one score a data set, from their per-image rows.

    Args:
        counts: rows (condition, image_id, method, metric, variant, value); ``metric`` holds one or more ids.
        how: metric id → a key of :data:`POOLS`.
        confidence, resamples, seed: of the intervals, percentiles over resampled images.

    Returns:
        Columns as in the table ``summary``; the variants are the names of the scores (pixel_accuracy, consistency …).
    """
    parts = []
    for id_, group in counts.groupby("metric", observed=True, sort=True):
        whole = POOLS[how[str(id_)]](
            group, [*CONDITION, "method"], confidence=confidence, resamples=resamples, seed=seed
        )
        parts.append(whole.assign(reference="", variant=whole.metric, metric=str(id_)))
    columns = [*KEYS, "n", "flagged", "mean", "low", "high", "sd", "confidence"]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)

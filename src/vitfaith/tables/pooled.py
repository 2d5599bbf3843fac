"""Metrics whose score is one of the whole data set: sums over images are divided, not scores averaged."""

from __future__ import annotations

import pandas as pd

from vitfaith.statistics import segmentation_scores
from vitfaith.tables.collect import CONDITION

KEYS = [*CONDITION, "method", "reference", "metric", "variant"]


def pooled_summary(counts: pd.DataFrame, *, confidence: float, resamples: int, seed: int) -> pd.DataFrame:
    """Summary rows of Chefer's segmentation scores, from the per-image counts of the metric ``segmentation``.

    Args:
        counts: rows (condition, image_id, method, metric, variant, value); ``metric`` holds one or more ids.
        confidence, resamples, seed: of the intervals, percentiles over resampled images.

    Returns:
        Columns as in the table ``summary``; the variants are pixel_accuracy, miou, map and f1.
    """
    parts = []
    for id_, group in counts.groupby("metric", observed=True, sort=True):
        whole = segmentation_scores(
            group, [*CONDITION, "method"], confidence=confidence, resamples=resamples, seed=seed
        )
        parts.append(whole.assign(reference="", variant=whole.metric, metric=str(id_)))
    columns = [*KEYS, "n", "flagged", "mean", "low", "high", "sd", "confidence"]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)

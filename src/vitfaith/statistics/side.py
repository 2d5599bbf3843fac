"""Whether a method chooses the same one of two right masks on all images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from vitfaith.errors import InputError
from vitfaith.statistics.clusters import cluster_codes, cluster_count, tails
from vitfaith.statistics.intervals import resampled_means


def side_scores(
    scores: pd.DataFrame,
    by: Sequence[str],
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """Share of images on the side of the majority, with bootstrap intervals over images.

    The consistency max(s, 1 − s) of the share s is at least 0.5, so its interval never goes below 0.5.

    Args:
        scores: rows (``by``, image_id, value) of one metric ``admissible_side``: 1 inside, 0 the others, 0.5 a tie.
        by: columns that make a group (condition, method …).
        confidence, resamples, seed: of the intervals, percentiles over resampled images.

    Returns:
        Columns ``by``, metric ("consistency"), variant (""), n, clusters, flagged, mean (the score of the dataset), low,
        high, sd (NaN: consistency has no value per image) and confidence.

    Raises:
        InputError: one image has two rows in a group.
    """
    by = list(by)
    if scores.duplicated([*by, "image_id"]).any():
        raise InputError(f"scores have two rows for one image in a group of {by}; select one metric")
    rows = []
    for key, group in scores.groupby(by, sort=True, observed=True, dropna=False):
        group = group.sort_values("image_id")
        values = group["value"].to_numpy(dtype=np.float64)
        kept = values[np.isfinite(values)]
        codes = cluster_codes(group["cluster"][np.isfinite(values)]) if "cluster" in group else None
        n, flagged = len(kept), len(values) - len(kept)
        whole = kept.mean() if n else np.nan
        drawn = (
            resampled_means(kept[:, None], resamples, seed, codes)[:, 0]
            if n > 1 and (codes is None or codes.max())
            else np.full(1, np.nan)
        )
        levels = tails(confidence, codes)
        low, high = np.quantile(np.maximum(drawn, 1 - drawn), levels if np.isfinite(levels[0]) else [0.0, 1.0])
        value = float(max(whole, 1 - whole))
        counts = (n, cluster_count(n, codes), flagged)
        rows.append((*key, "consistency", "", *counts, value, float(low), float(high), np.nan, confidence))
    columns = ["metric", "variant", "n", "clusters", "flagged", "mean", "low", "high", "sd", "confidence"]
    return pd.DataFrame(rows, columns=[*by, *columns])

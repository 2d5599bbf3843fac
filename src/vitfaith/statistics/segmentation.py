"""Scores of a whole dataset from the per-image counts of the metric ``segmentation``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vitfaith.errors import InputError
from vitfaith.statistics.clusters import cluster_codes, cluster_count, tails
from vitfaith.statistics.intervals import resampled_means

CLASSES = ("background", "object")
VARIANTS = (
    "correct",
    "labelled",
    *(f"{part}_{name}" for name in CLASSES for part in ("intersection", "union")),
    "average_precision",
    "f1",
)


def segmentation_scores(
    scores: pd.DataFrame,
    by: Sequence[str],
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """Pixel accuracy, mIoU, mAP and F1 with bootstrap intervals over images (Chefer et al., CVPR 2021).

    Pixel accuracy and the IoU of background and object are ratios of sums over all images; mIoU is the
    mean of the two IoUs; mAP and F1 are means over images. Intervals are percentiles over resampled images.

    Args:
        scores: rows (``by``, image_id, variant, value) of one metric ``segmentation``, and ``cluster`` if images are
            not independent.
        by: columns that make a group (condition, method …).
        confidence, resamples, seed: of the intervals.

    Returns:
        Columns ``by``, metric ("pixel_accuracy", "miou", "map", "f1"), variant (""), n, clusters, flagged, mean (the score of the
        dataset), low, high, sd (NaN: a ratio of sums has no value per image) and confidence.

    Raises:
        InputError: a variant is missing, or one image has two rows of it.
    """
    by = list(by)
    missing = sorted(set(VARIANTS) - set(scores["variant"].unique()))
    if missing and len(scores):
        raise InputError(f"scores lack the variant '{missing[0]}' of the metric segmentation")
    if scores.duplicated([*by, "image_id", "variant"]).any():
        raise InputError(f"scores have two rows for one image and variant in a group of {by}; select one metric")
    rows = []
    for key, group in scores.groupby(by, sort=True, observed=True, dropna=False):
        wide = group.pivot(index="image_id", columns="variant", values="value").sort_index()[list(VARIANTS)]
        values = wide.to_numpy(dtype=np.float64)
        kept = np.isfinite(values).all(axis=1)
        n, flagged = int(kept.sum()), int((~kept).sum())
        whole = read_out(values[kept].mean(axis=0) if n else np.full(len(VARIANTS), np.nan))
        codes = None
        if "cluster" in group:
            codes = cluster_codes(
                group.drop_duplicates("image_id").set_index("image_id")["cluster"].loc[wide.index[kept]]
            )
        resampled = (
            read_out(resampled_means(values[kept], resamples, seed, codes))
            if n > 1 and (codes is None or codes.max())
            else None
        )
        levels = tails(confidence, codes)
        counts = (n, cluster_count(n, codes), flagged)
        for name, value in whole.items():
            low, high = (np.nan, np.nan) if resampled is None else np.quantile(resampled[name], levels)
            rows.append((*key, name, "", *counts, float(value), float(low), float(high), np.nan, confidence))
    columns = ["metric", "variant", "n", "clusters", "flagged", "mean", "low", "high", "sd", "confidence"]
    return pd.DataFrame(rows, columns=[*by, *columns])


def read_out(means: NDArray[np.float64]) -> Mapping[str, NDArray[np.float64]]:
    """The four scores from means over images (..., V) of the per-image numbers, in the order of ``VARIANTS``."""
    part = {name: means[..., column] for column, name in enumerate(VARIANTS)}
    with np.errstate(invalid="ignore", divide="ignore"):
        # a class absent from all maps and truths counts as missed, as in the authors' evaluation
        overlaps = [
            np.where(part[f"union_{c}"] == 0, 0.0, part[f"intersection_{c}"] / part[f"union_{c}"]) for c in CLASSES
        ]
        return {
            "pixel_accuracy": part["correct"] / part["labelled"],
            "miou": (overlaps[0] + overlaps[1]) / 2,
            "map": part["average_precision"],
            "f1": part["f1"],
        }

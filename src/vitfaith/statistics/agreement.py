"""Do metrics agree? Rank correlation between every two of them."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vitfaith.errors import InputError

LEVELS = ("methods", "methods_per_image", "images")


def metric_agreement(
    scores: pd.DataFrame, directions: Mapping[str, Literal["higher", "lower"]] | None = None
) -> pd.DataFrame:
    """Kendall's τ-b and Spearman's ρ between every two metrics, at three levels.

    ``methods``: over methods, of their means over the images that both metrics score: do the metrics name the same
    best method? ``methods_per_image``: over methods on each image, averaged over images: do they on a single image?
    ``images``: over images for each method, averaged over methods: do they find the same images well explained?

    Args:
        scores: one condition's rows (method, image_id, metric, value); metrics with several variants need one
            identifier a variant in ``metric``. Values that are not finite are left out.
        directions: metric → whether higher values are better; metrics where "lower" is are turned round, so that
            agreement is positive. Metrics that are not named count as "higher".

    Returns:
        Columns metric, other, level, kendall, spearman, n: the number of correlations averaged (0 or 1 for
        ``methods``). A correlation is left out when fewer than two points or no variation remain; NaN if all are.

    Raises:
        InputError: two rows share method, image and metric.
    """
    if scores.duplicated(["method", "image_id", "metric"]).any():
        raise InputError("scores have two rows for one method, image and metric; select one condition and one variant")
    directions = directions or {}
    names = sorted(scores["metric"].unique())
    finite = scores[np.isfinite(scores["value"])]
    grids = {}
    methods, images = sorted(scores["method"].unique()), sorted(scores["image_id"].unique())
    for name in names:
        grid = finite[finite["metric"] == name].pivot(index="method", columns="image_id", values="value")
        sign = -1.0 if directions.get(name) == "lower" else 1.0
        grids[name] = sign * grid.reindex(index=methods, columns=images).to_numpy(dtype=np.float64)
    rows = []
    for name, other in combinations(names, 2):
        both = np.isfinite(grids[name]) & np.isfinite(grids[other])
        x, y = (np.where(both, grids[one], np.nan) for one in (name, other))
        known = both.any(axis=1)
        means = [np.array([np.nanmean(row) for row in one[known]])[None] for one in (x, y)]
        for level, pair in zip(LEVELS, (means, (x.T, y.T), (x, y)), strict=True):
            found = [correlations(a, b) for a, b in zip(*pair, strict=True)]
            defined = np.array([c for c in found if c is not None]).reshape(-1, 2)
            kendall, spearman = defined.mean(axis=0) if len(defined) else (np.nan, np.nan)
            rows.append((name, other, level, float(kendall), float(spearman), len(defined)))
    return pd.DataFrame(rows, columns=["metric", "other", "level", "kendall", "spearman", "n"])


def correlations(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float] | None:
    """Kendall's τ-b and Spearman's ρ over the places where both are finite; None without variation in both."""
    from scipy.stats import kendalltau, rankdata

    kept = np.isfinite(x) & np.isfinite(y)
    x, y = x[kept], y[kept]
    if len(x) < 2 or x.min() == x.max() or y.min() == y.max():
        return None
    # the p-value is not used, and asymptotically fastest; for two points SciPy divides by zero there
    method = "exact" if len(x) == 2 else "asymptotic"
    return float(kendalltau(x, y, method=method).statistic), float(np.corrcoef(rankdata(x), rankdata(y))[0, 1])

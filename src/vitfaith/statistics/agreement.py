"""Agreement of metrics: rank correlation between every two metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vitfaith.errors import InputError
from vitfaith.order import natural
from vitfaith.registry import Better
from vitfaith.statistics.common import COVERAGE, common_images
from vitfaith.statistics.precision import snapped

LEVELS = ("methods", "methods_per_image", "images")
SHORT = 64
"""Longest rows that are compared by all pairs at once."""
ROWS = 2048
"""Rows compared at once: bounds the memory, not the result."""


def metric_agreement(
    scores: pd.DataFrame,
    directions: Mapping[str, Better] | None = None,
    *,
    coverage: float = COVERAGE,
) -> pd.DataFrame:
    """Kendall's τ-b and Spearman's ρ between every two metrics, at three levels.

    Two metrics are compared over the images that both score for every compared method. A method with less than the
    share ``coverage`` of the images is in no correlation.

    ``methods``: over methods, with their means over images. Do the metrics prefer the same methods?
    ``methods_per_image``: over methods per image, averaged over images. Do they prefer the same methods on one image?
    ``images``: over images per method, averaged over methods. Do they find the same images well explained?

    Args:
        scores: one condition's rows (method, image_id, metric, value); metrics with several variants need one
            identifier per variant in ``metric``. Values that are not finite are left out.
        directions: metric → whether higher values are better; metrics with "lower" change sign, so
            agreement is positive. Unnamed metrics count as "higher".
        coverage: see :func:`~vitfaith.statistics.common.common_images`.

    Returns:
        Columns metric, other, level, kendall, spearman, n: the number of correlations averaged (0 or 1 for
        ``methods``); images and methods: numbers compared; left_out: methods that are not compared, separated by commas. Correlations
        with fewer than two points or without variation are omitted from the average; NaN if all are.

    Raises:
        InputError: two rows share method, image and metric.
    """
    if scores.duplicated(["method", "image_id", "metric"]).any():
        raise InputError("scores have two rows for one method, image and metric; select one condition and one variant")
    finite = scores[np.isfinite(scores["value"])]
    grids = {}
    methods, images = sorted(scores["method"].unique()), sorted(scores["image_id"].unique())
    for name in scores["metric"].unique():
        grid = finite[finite["metric"] == name].pivot(index="method", columns="image_id", values="value")
        grids[str(name)] = grid.reindex(index=methods, columns=images).to_numpy(dtype=np.float64)
    return agreement_of(grids, methods, directions, coverage=coverage)


def agreement_of(
    values: Mapping[str, NDArray[np.float64]],
    methods: Sequence[str],
    directions: Mapping[str, Better] | None = None,
    *,
    coverage: float = COVERAGE,
) -> pd.DataFrame:
    """:func:`metric_agreement` of ``values``: metric → (M, N) of the sorted ``methods`` and the images, NaN where there is no value."""
    directions = directions or {}
    names = sorted(values, key=natural)
    grids = {name: (-1.0 if directions.get(name) == "lower" else 1.0) * values[name] for name in names}
    rows = []
    for name, other in combinations(names, 2):
        found = common_images(np.isfinite(grids[name]) & np.isfinite(grids[other]), coverage)
        left_out = ", ".join(m for m, kept in zip(methods, found.compared, strict=True) if not kept)
        x, y = (grids[one][found.compared][:, found.images] for one in (name, other))
        means = [one.mean(axis=1)[None] if one.size else np.zeros((1, 0)) for one in (x, y)]
        for level, pair in zip(LEVELS, (means, (x.T, y.T), (x, y)), strict=True):
            # ordered values are along rows; values within the precision of the scores are tied
            coefficients = correlations(*(snapped(one.T).T for one in pair))
            defined = coefficients[np.isfinite(coefficients).all(axis=1)]
            kendall, spearman = defined.mean(axis=0) if len(defined) else (np.nan, np.nan)
            counts = len(defined), x.shape[1], len(x), left_out
            rows.append((name, other, level, float(kendall), float(spearman), *counts))
    columns = ["metric", "other", "level", "kendall", "spearman", "n", "images", "methods", "left_out"]
    return pd.DataFrame(rows, columns=columns)


def correlations(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Kendall's τ-b and Spearman's ρ of each row of ``x`` and ``y`` (rows, n), over the columns where both are finite.

    Returns:
        (rows, 2) τ-b and ρ; both NaN if one of the rows does not vary.
    """
    if x.shape[1] <= SHORT:
        parts = [correlations_of_short_rows(x[i : i + ROWS], y[i : i + ROWS]) for i in range(0, len(x), ROWS)]
        return np.concatenate([*parts, np.zeros((0, 2))])
    return np.array([correlation_of_row(a, b) for a, b in zip(x, y, strict=True)]).reshape(-1, 2)


def correlation_of_row(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float]:
    """:func:`correlations` of one row (n,), in O(n log n)."""
    from scipy.stats import kendalltau, rankdata

    kept = np.isfinite(x) & np.isfinite(y)
    x, y = x[kept], y[kept]
    if len(x) < 2 or x.min() == x.max() or y.min() == y.max():
        return np.nan, np.nan
    # the p-value is not used, and its asymptotic form is fastest; for two points SciPy divides by zero there
    method = "exact" if len(x) == 2 else "asymptotic"
    return float(kendalltau(x, y, method=method).statistic), float(np.corrcoef(rankdata(x), rankdata(y))[0, 1])


def correlations_of_short_rows(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """:func:`correlations` of all rows at once: one call per row takes a millisecond, and there are thousands of rows.

    With s_ij the sign of x_i − x_j, Kendall's numerator is Σ s_ij(x) s_ij(y), and 2 × the mean-centred average rank
    of x_i is Σ_j s_ij, so both coefficients are cosines.
    """
    known = np.isfinite(x) & np.isfinite(y)
    pairs = known[:, :, None] & known[:, None, :]
    signs = []
    for values in (x, y):
        values = np.where(known, values, 0.0)
        signs.append(np.where(pairs, np.sign(values[:, :, None] - values[:, None, :]), 0.0))
    ranks = [sign.sum(axis=2) for sign in signs]
    pairwise = [sign.reshape(len(x), x.shape[1] ** 2) for sign in signs]  # also where no row or no column is left
    return np.stack([cosines(*pairwise), cosines(*ranks)], axis=1)


def cosines(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cosine of each row of ``a`` and ``b`` (rows, n), NaN where one of them is zero."""
    length = np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    return np.divide((a * b).sum(axis=1), length, out=np.full(len(a), np.nan), where=length > 0)

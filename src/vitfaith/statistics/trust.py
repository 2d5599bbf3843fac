"""Which metric to trust: its power, its reliability, its agreement with a truth and with itself under other choices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import rankdata

from vitfaith.errors import InputError
from vitfaith.order import natural
from vitfaith.registry import Better
from vitfaith.statistics.agreement import correlations
from vitfaith.statistics.clusters import Codes, cluster_codes
from vitfaith.statistics.common import COVERAGE, common_images
from vitfaith.statistics.intervals import mean_intervals, random_source, resampled_means
from vitfaith.statistics.orders import order_agreement, percentile_bounds
from vitfaith.statistics.precision import snapped

Floats = NDArray[np.float64]

SPLITS = 200
"""Random halves of the images for the split-half reliability."""

QUANTITIES = ("separation", "alpha", "split_half", "truth", "robustness")

COLUMNS = ["metric", "quantity", "other", "value", "low", "high", "methods", "n", "confidence"]


def metric_trust(
    scores: pd.DataFrame,
    directions: Mapping[str, Better],
    *,
    baseline: str = "random",
    truth: Sequence[str] = (),
    others: Mapping[str, pd.DataFrame] | None = None,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
    coverage: float = COVERAGE,
) -> pd.DataFrame:
    """How far each metric of one condition can be trusted, one row per metric, quantity and ``other``.

    ``separation``: chance that an image's score for a method is better than an image's score for ``baseline`` (the area
    under the ROC curve, ties count half), averaged over methods; ½ means no information. Its interval comes from the mean of the
    images' influence on it (DeLong et al. 1988), cut off at 0 and 1.

    ``alpha``: Krippendorff's α (ordinal) of the order of methods, with images as raters (Tomsett et al. 2020); 1 where every
    image orders the methods alike, 0 by chance. Bootstrap over images, with the scale of ranks held fixed.

    ``split_half``: Spearman's ρ between the methods' means over two random halves of the images, averaged over :data:`SPLITS`
    halves and stepped up to all images by Spearman and Brown's 2ρ / (1 + ρ). It has no interval.

    ``truth``: Kendall's τ-b between the metric's and a true metric's means over methods, for each of ``truth``.

    ``robustness``: Kendall's τ-b between the metric's means and those in each of ``others``: the same methods under another fill,
    tie key, network or model.

    Args:
        scores: rows (method, image_id, metric, value) of one condition; where there is a column ``cluster``, whole clusters
            are drawn. Metrics with variants need one name per variant.
        directions: metric → "higher" or "lower"; others count as "higher".
        baseline: method with uninformative maps; correlations leave it out.
        truth: metrics that know the truth, such as localisation on planted patches.
        others: name → scores of the same methods and metrics.

    Returns:
        Columns metric, quantity, other (empty, the true metric or the name), value, low, high, methods (compared, without the
        baseline), n (images), confidence. NaN where there are fewer than two methods, or no baseline.

    Raises:
        InputError: a method has two values for an image, or a true metric is not in ``scores``.
    """
    grids = {
        metric: _grid(scores, metric, directions)
        for metric in sorted(scores["metric"].astype(str).unique(), key=natural)
    }
    missing = next((name for name in truth if name not in grids), None)
    if missing is not None:
        raise InputError(f"truth names '{missing}', which no score is of; there are {', '.join(grids)}")
    settings = _Settings(baseline, confidence, resamples, seed, coverage, _clusters(scores))
    rows = []
    for metric, grid in grids.items():
        table, codes = settings.compared(grid)
        without = table.drop(index=baseline, errors="ignore")
        counts = (len(without), table.shape[1], confidence)
        rows += [
            (metric, "separation", "", *settings.separation(table, codes), *counts),
            (metric, "alpha", "", *settings.alpha(without, codes), *counts),
            (metric, "split_half", "", *settings.split_half(without, codes), *counts),
        ]
        for name in truth:
            if name != metric:
                rows.append((metric, "truth", name, *settings.order(grid, grids[name])))
        for name, frame in (others or {}).items():
            other = frame[frame["metric"].astype(str) == metric]
            if len(other):
                rows.append((metric, "robustness", name, *settings.order(grid, _grid(other, metric, directions))))
    return pd.DataFrame(rows, columns=COLUMNS)


def krippendorff_alpha(ratings: Floats) -> float:
    """Krippendorff's α for ordinal data, of ``ratings`` (raters, units) without missing values; NaN where nothing varies.

    The ordinal distance of two values is the difference of their mid-ranks in the pooled data, so α equals α of the
    interval scale on mid-ranks (Krippendorff 2011, Computing Krippendorff's Alpha-Reliability).
    """
    ranks = rankdata(ratings).reshape(ratings.shape)
    return float(_alpha(ranks.mean(0)[None], (ranks**2).mean(0)[None], len(ranks))[0])


def _alpha(means: Floats, squares: Floats, raters: int) -> Floats:
    """α (R,) from the means over raters (R, units) of values and of their squares."""
    total = raters * means.shape[1]
    observed = raters / (raters - 1) * (squares - means**2).mean(axis=1)
    expected = total / (total - 1) * (squares.mean(axis=1) - means.mean(axis=1) ** 2)
    return 1 - np.divide(observed, expected, out=np.full(len(means), np.nan), where=expected > 1e-12 * squares.max())


class _Settings:
    """Shared data of the quantities."""

    def __init__(
        self, baseline: str, confidence: float, resamples: int, seed: int, coverage: float, clusters: Mapping[str, Any]
    ) -> None:
        self.baseline, self.confidence, self.resamples, self.seed = baseline, confidence, resamples, seed
        self.coverage, self.clusters = coverage, clusters

    def compared(self, grid: pd.DataFrame) -> tuple[pd.DataFrame, Codes | None]:
        """The methods with enough images, on the images that all of them have, and the clusters of these."""
        found = common_images(np.isfinite(grid.to_numpy()), self.coverage)
        table = grid.loc[found.compared, found.images]
        return table, cluster_codes([self.clusters.get(image) for image in table.columns]) if self.clusters else None

    def separation(self, table: pd.DataFrame, codes: Codes | None) -> tuple[float, float, float]:
        if self.baseline not in table.index or len(table) < 2 or not table.shape[1]:
            return np.nan, np.nan, np.nan
        values = snapped(table.to_numpy().T).T
        place = table.index.get_loc(self.baseline)
        random, others = values[place], np.delete(values, place, axis=0)
        # for each image: the share of the baseline's images that its scores beat, and of scores that beat its baseline's
        wins = np.mean([_beaten(np.sort(random), one) for one in others], axis=0)
        losses = np.mean([_beaten(np.sort(-one), -random) for one in others], axis=0)
        area = wins.mean()
        influence = (wins + losses - area)[:, None]
        _, low, high = mean_intervals(
            influence, confidence=self.confidence, method="bca", resamples=self.resamples, seed=self.seed, codes=codes
        )
        low, high = (np.clip(bound, 0, 1) for bound in (low, high))  # the influence of an image may lie outside
        return float(area), float(low[0]), float(high[0])

    def alpha(self, table: pd.DataFrame, codes: Codes | None) -> tuple[float, float, float]:
        if len(table) < 2 or table.shape[1] < 2:
            return np.nan, np.nan, np.nan
        orders = rankdata(snapped(table.to_numpy().T), axis=1)  # images × methods
        ranks = rankdata(orders).reshape(orders.shape)
        both = np.concatenate([ranks, ranks**2], axis=1)
        half = ranks.shape[1]
        drawn = resampled_means(both, self.resamples, self.seed, codes)
        alphas = _alpha(drawn[:, :half], drawn[:, half:], len(ranks))
        return krippendorff_alpha(orders), *percentile_bounds(alphas, self.confidence, codes)

    def split_half(self, table: pd.DataFrame, codes: Codes | None) -> tuple[float, float, float]:
        images = table.shape[1]
        groups = np.arange(images) if codes is None else codes
        count = int(groups.max()) + 1 if images else 0
        if len(table) < 2 or count < 2:
            return np.nan, np.nan, np.nan
        source = random_source(self.seed, count, SPLITS)
        first = np.argsort(source.random((SPLITS, count)), axis=1) < count // 2
        weights = first[:, groups].astype(np.float64)
        values = table.to_numpy().T
        halves = [snapped((w @ values / w.sum(1, keepdims=True)).T).T for w in (weights, 1 - weights)]
        rho = correlations(*halves)[:, 1]
        rho = rho[np.isfinite(rho)]
        if not len(rho):
            return np.nan, np.nan, np.nan
        mean = float(rho.mean())
        return 2 * mean / (1 + mean) if mean > 0 else mean, np.nan, np.nan

    def order(self, grid: pd.DataFrame, other: pd.DataFrame) -> tuple[float, float, float, int, int, float]:
        """τ-b of the methods' means in two grids over the images that both have, with its interval and counts."""
        methods = [name for name in grid.index if name in other.index and name != self.baseline]
        images = [name for name in grid.columns if name in other.columns]
        first, second = (one.loc[methods, images].to_numpy() for one in (grid, other))
        found = common_images(np.isfinite(first) & np.isfinite(second), self.coverage)
        pair = [one[found.compared][:, found.images].T for one in (first, second)]
        counts = (pair[0].shape[1], len(pair[0]), self.confidence)
        if min(pair[0].shape) < 2:
            return np.nan, np.nan, np.nan, *counts
        kept = [name for name, one in zip(images, found.images, strict=True) if one]
        codes = cluster_codes([self.clusters.get(name) for name in kept]) if self.clusters else None
        settings: dict[str, Any] = {"confidence": self.confidence, "resamples": self.resamples, "seed": self.seed}
        return *order_agreement(*pair, codes=codes, **settings), *counts


def _beaten(ordered: Floats, values: Floats) -> Floats:
    """Share of the sorted numbers ``ordered`` (n,) that lie below each of ``values``, equal ones counted half."""
    below, up_to = np.searchsorted(ordered, values, "left"), np.searchsorted(ordered, values, "right")
    return (below + up_to) / (2 * len(ordered))


def _grid(scores: pd.DataFrame, metric: str, directions: Mapping[str, Better]) -> pd.DataFrame:
    """Methods × images of one metric, turned so that higher is better."""
    rows = scores[scores["metric"].astype(str) == metric]
    rows = rows.assign(method=rows["method"].astype(str), image_id=rows["image_id"].astype(str))
    if rows.duplicated(["method", "image_id"]).any():
        raise InputError(f"metric '{metric}': a method has two values for an image; give one condition and variant")
    grid = rows.pivot(index="method", columns="image_id", values="value").astype(np.float64)
    return -grid if directions.get(metric) == "lower" else grid


def _clusters(scores: pd.DataFrame) -> dict[str, Any]:
    if "cluster" not in scores:
        return {}
    told = scores.dropna(subset=["cluster"])
    return dict(zip(told["image_id"].astype(str), told["cluster"], strict=True))

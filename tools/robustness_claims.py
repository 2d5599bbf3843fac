"""The claims of the findings as testable statements: each reads values per image and gives a number, its interval and a verdict."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
import pandas as pd
from robustness_reading import Reading, above, clusters_of, count, grid, near_zero, share_of, weakest
from scipy.stats import rankdata, wilcoxon

from vitfaith.statistics.clusters import cluster_codes
from vitfaith.statistics.common import comparable
from vitfaith.statistics.intervals import confidence_interval
from vitfaith.statistics.orders import order_agreement
from vitfaith.statistics.paired import holm
from vitfaith.statistics.precision import snapped

NEAR_ZERO = 0.1
"""Half width of the range of a SaCo near 0; explainers of the default study reach 0.7."""
CLAIMS = {
    "random": "Random maps have a SaCo near 0: their mean lies within ±0.1.",
    "older": "Older metrics (Deletion and Insertion AUC, AOPC, Log-odds) do not separate from Random the methods that SaCo does: more than half "
    "of the tests of these methods find no gain over Random (Wilcoxon, Holm, 0.05).",
    "raise": "Gradients and layers raise SaCo: in the 2 × 2 of the last or all layers, without or with gradients, both main effects are above 0.",
    "dds": "DDS keeps predictions and top-k sets under attack: behind it PGD changes fewer of both; both mean differences are above 0.",
    "certified": "Certificates cover the attacks: more than half of the maps have a sound radius above the mean l2 length of PGD with 8/255.",
    "diffmask": "DiffMask is faithful behind its placeholder and behind noise: with both fills it has more SaCo than random maps.",
    "localisation": "Localisation follows faithfulness: Kendall's τ of the orders of methods by SaCo and by localisation is above 0.",
}  # fmt: skip
"""Claim → the statement that is tested."""
OLDER = {"deletion_auc": -1, "insertion_auc": 1, "aopc": 1, "log_odds": -1}
"""Metrics older than SaCo → sign by which larger is better."""
ONLY_LAST, ALL = ("raw_attention", "attention_gradcam"), ("rollout", "transformer_mm")
"""(without, with gradients) of the last layer alone, and of all layers."""
RESAMPLES = 200
"""Of the images, for the share of tests: each resample repeats all tests."""
DEFINED = 0.95
"""Share of the resamples in which SaCo must separate a method; with fewer the share of tests is undefined."""


def random_is_zero(scores: pd.DataFrame) -> Reading:
    """Random maps: the interval of their mean SaCo lies near 0."""
    table, clusters = grid(scores[scores["method"] == "random"], "saco", ["random"])
    return near_zero(confidence_interval(table["random"], clusters=clusters), NEAR_ZERO, count(len(table), clusters))


def older_fail(scores: pd.DataFrame) -> Reading:
    """Of the methods that SaCo separates from Random, most are not separated by an older metric.

    A metric separates a method where its scores are better than those of random maps: Wilcoxon's signed-rank test, p below 0.05
    after Holm over the methods. The images of a cluster have one value, their mean. The number is the share of (method, older metric)
    that are not separated, over the methods that SaCo separates.
    """
    tables = {metric: sign * _by_cluster(scores, metric) for metric, sign in {"saco": 1, **OLDER}.items()}
    shared = sorted(set.intersection(*(set(table.index) for table in tables.values())))
    methods = sorted(set.intersection(*(set(table.columns) for table in tables.values())) - {"random"})
    gains = np.stack([_gains(table.loc[shared], methods) for table in tables.values()])
    share, counts = _not_separated(gains)
    low = high = np.nan
    if np.isfinite(share):
        generator = np.random.default_rng(0)
        draws = generator.integers(0, len(shared), (RESAMPLES, len(shared)))
        drawn = np.array([_not_separated(gains[:, draw])[0] for draw in draws])
        if np.isfinite(drawn).mean() >= DEFINED:
            low, high = np.nanquantile(drawn, [0.025, 0.975])
    told = ", ".join(f"{name} {count_}" for name, count_ in zip(tables, counts, strict=True))
    return above((share, float(low), float(high)), 0.5, len(shared), f"separated of {len(methods)}: {told}")


def _by_cluster(scores: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Independent images × compared methods: the images of a cluster are averaged to one row."""
    table, clusters = grid(scores, metric)
    if clusters is None:
        return table
    names = [image if cluster is None else cluster for image, cluster in zip(table.index, clusters, strict=True)]
    return table.groupby(np.asarray(names, dtype=object)).mean()


def _gains(table: pd.DataFrame, methods: list[str]) -> np.ndarray:
    """Images × methods: the score above that of random maps; 0 where the two are equal in the precision of scores."""
    pairs = [snapped(table[[method, "random"]].to_numpy().T) for method in methods]
    return np.stack([first - second for first, second in pairs], axis=1)


def _not_separated(gains: np.ndarray) -> tuple[float, list[int]]:
    """The share of :func:`older_fail`, and the number of separated methods per metric; gains (metrics, images, methods)."""
    separated = np.zeros((len(gains), gains.shape[2]), dtype=bool)
    for place, gain in enumerate(gains):
        moved = (gain != 0).any(axis=0)
        p = np.ones(gain.shape[1])
        if moved.any():
            p[moved] = wilcoxon(gain[:, moved], axis=0, method="approx").pvalue
        separated[place] = (holm(p) < 0.05) & (_rank_sums(gain) > 0)
    of_saco = separated[0]
    share = float((~separated[1:, of_saco]).mean()) if of_saco.any() else np.nan
    return share, [int(row.sum()) for row in separated]


def _rank_sums(gain: np.ndarray) -> np.ndarray:
    """Sum of the signed ranks of each column: the direction of Wilcoxon's test, which the mean need not have."""
    sizes = np.where(gain == 0, np.nan, np.abs(gain))
    return np.nansum(np.sign(gain) * rankdata(sizes, axis=0, nan_policy="omit"), axis=0)


def raise_saco(scores: pd.DataFrame) -> Reading:
    """Weighting by gradients raises SaCo, and aggregating over layers does; each main effect is a mean paired difference above 0."""
    table, clusters = grid(scores, "saco", [*ONLY_LAST, *ALL])
    last, last_gradient, every, every_gradient = (table[name] for name in (*ONLY_LAST, *ALL))
    effects = {
        "gradients": (last_gradient - last + every_gradient - every) / 2,
        "layers": (every - last + every_gradient - last_gradient) / 2,
    }
    n = count(len(table), clusters)
    return weakest(
        {name: above(confidence_interval(effect, clusters=clusters), 0, n) for name, effect in effects.items()}
    )


def dds_keeps(predictions: pd.DataFrame, stability: pd.DataFrame) -> Reading:
    """Behind DDS an attack changes fewer predictions and fewer of the top patches than without it.

    Args:
        predictions: rows (image_id, attack, smoothing, prediction) of the attacks ``clean`` and another.
        stability: overlaps of the top patches with the clean map behind the same smoothing: rows (image_id, method, smoothing, value).
            The gain of an image is the mean over methods with both values; random maps, which do not look, are left out.
    """
    wide = predictions.pivot(index="image_id", columns=["smoothing", "attack"], values="prediction").dropna()
    attack = next(name for name in predictions["attack"].unique() if name != "clean")
    kept = {
        smoothing: (wide[smoothing, attack] == wide[smoothing, "clean"]).astype(float) for smoothing in ("dds", "none")
    }
    looking = stability[(stability["method"] != "random") & stability["smoothing"].isin(kept)]
    overlap = looking.pivot(index=["image_id", "method"], columns="smoothing", values="value")
    gain = comparable((overlap["dds"] - overlap["none"]).unstack("image_id"))[0]
    gains = {"predictions": kept["dds"] - kept["none"], "top patches": gain.mean()}
    of = partial(clusters_of, predictions)
    return weakest(
        {
            name: above(confidence_interval(values, clusters=of(values.index)), 0, count(len(values), of(values.index)))
            for name, values in gains.items()
        }
    )


def certificates_cover(certificates: pd.DataFrame, length: float) -> Reading:
    """Certificates cover most attacks: the share of maps with a sound radius above the l2 length of the attack exceeds ½."""
    maps = certificates[certificates["method"] != ""]
    sound = maps["sound"].astype(bool)
    covered = (sound & (maps["radius"] > length)).groupby([maps["image_id"], maps["method"]]).any()
    shares = covered.groupby("image_id").mean()
    clusters = clusters_of(maps, shares.index)
    remark = f"l2 {length:.2f}, largest radius {maps['radius'][sound].max():.2f}"
    return above(share_of(shares, clusters), 0.5, count(len(shares), clusters), remark)


def diffmask_faithful(scores: pd.DataFrame, metrics: Mapping[str, str]) -> Reading:
    """DiffMask's SaCo is above that of random maps with each fill; ``metrics`` maps the fill to its metric."""
    parts = {}
    for fill, metric in metrics.items():
        table, clusters = grid(scores, metric, ["diffmask", "random"])
        gain = table["diffmask"] - table["random"]
        parts[fill] = above(confidence_interval(gain, clusters=clusters), 0, count(len(table), clusters))
    return weakest(parts)


def localisation_follows(scores: pd.DataFrame, truth: str) -> Reading:
    """Methods with more SaCo are better located: Kendall's τ of the two orders of methods is above 0."""
    tables = [grid(scores, metric)[0].drop(columns="random", errors="ignore") for metric in ("saco", truth)]
    images = tables[0].index.intersection(tables[1].index)
    methods = tables[0].columns.intersection(tables[1].columns)
    clusters = clusters_of(scores, images)
    tau = order_agreement(*(table.loc[images, methods].to_numpy() for table in tables), codes=cluster_codes(clusters))
    return above(tau, 0, count(len(images), clusters), f"{len(methods)} methods")

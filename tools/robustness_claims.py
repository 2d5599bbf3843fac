"""The claims of the findings as testable statements: each reads values per image and gives a number, its interval and a verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import wilcoxon

from vitfaith.statistics.common import COVERAGE
from vitfaith.statistics.intervals import confidence_interval
from vitfaith.statistics.orders import order_agreement
from vitfaith.statistics.paired import holm

CLAIMS = {
    "random": "Random maps have a SaCo of 0: the interval of its mean contains 0.",
    "older": "Older metrics (Deletion and Insertion AUC, AOPC, Log-odds) do not separate from Random the methods that SaCo does: more than half "
    "of the tests of these methods find no gain over Random (Wilcoxon, Holm, 0.05).",
    "raise": "Gradients and layers raise SaCo: both mean differences in the 2 × 2 of the last or all layers, without or with gradients, are above 0.",
    "dds": "DDS keeps predictions and top-k sets under attack: behind it PGD (8/255) changes fewer of both; both mean differences are above 0.",
    "certified": "Certificates cover the attacks: more than half of the maps have a sound radius above the l2 length of PGD with 8/255.",
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


@dataclass(frozen=True)
class Reading:
    """What a claim comes to under one choice.

    Attributes:
        number: the quantity that decides, NaN where it is undefined.
        low, high: its 95 % interval over images.
        margin: distance of the deciding bound from the claim's threshold; the claim survives where it is positive.
        n: images, or clusters of images.
        remark: what else to know.
    """

    number: float
    low: float
    high: float
    margin: float
    n: int
    remark: str = ""

    @property
    def survives(self) -> bool:
        """Whether the interval supports the claim; an undefined one does not."""
        return self.margin > 0

    @property
    def text(self) -> str:
        """Number and interval."""
        return f"{self.number:.2f} [{self.low:.2f}, {self.high:.2f}]"


def above(values: tuple[float, float, float], threshold: float, n: int, remark: str = "") -> Reading:
    """A claim that a number lies above ``threshold``: its whole interval must."""
    number, low, high = values
    return Reading(number, low, high, low - threshold, n, remark)


def support(reading: Reading) -> float:
    """The margin of a reading; an undefined one has the least."""
    return -np.inf if np.isnan(reading.margin) else reading.margin


def weakest(readings: Mapping[str, Reading]) -> Reading:
    """The reading with the smallest margin, its name in the remark: a claim of several parts holds where all do."""
    name, found = min(readings.items(), key=lambda item: support(item[1]))
    return Reading(found.number, found.low, found.high, found.margin, found.n, name)


def grid(scores: pd.DataFrame, metric: str, coverage: float = 0) -> pd.DataFrame:
    """Images × methods of one metric, images with a finite value of every method; the images of a cluster are averaged to one row.

    Methods with values on less than the share ``coverage`` of the images are left out.
    """
    rows = scores[(scores["metric"] == metric) & np.isfinite(scores["value"])]
    table = rows.pivot(index="image_id", columns="method", values="value")
    table = table.loc[:, table.notna().mean() >= coverage].dropna()
    if "cluster" not in rows:
        return table
    cluster = rows.drop_duplicates("image_id").set_index("image_id")["cluster"]
    return table.groupby(cluster.reindex(table.index).fillna(table.index.to_series())).mean()


def random_is_zero(scores: pd.DataFrame) -> Reading:
    """Random maps: the interval of their mean SaCo contains 0."""
    values = grid(scores[scores["method"] == "random"], "saco")["random"]
    number, low, high = confidence_interval(values)
    return Reading(number, low, high, min(-low, high), len(values))


def older_fail(scores: pd.DataFrame) -> Reading:
    """Of the methods that SaCo separates from Random, most are not separated by an older metric.

    A metric separates a method where its scores are better than those of random maps: Wilcoxon's signed-rank test, p below 0.05
    after Holm over the methods. The number is the share of (method, older metric) that are not separated, over the methods that
    SaCo separates.
    """
    tables = {metric: sign * grid(scores, metric, COVERAGE) for metric, sign in {"saco": 1, **OLDER}.items()}
    shared = sorted(set.intersection(*(set(table.index) for table in tables.values())))
    methods = sorted(set.intersection(*(set(table.columns) for table in tables.values())) - {"random"})
    gains = np.stack([table.loc[shared, methods].sub(table.loc[shared, "random"], axis=0) for table in tables.values()])
    share, counts = _not_separated(gains)
    low = high = np.nan
    if np.isfinite(share):
        generator = np.random.default_rng(0)
        draws = generator.integers(0, len(shared), (RESAMPLES, len(shared)))
        low, high = np.nanquantile([_not_separated(gains[:, draw])[0] for draw in draws], [0.025, 0.975])
    told = ", ".join(f"{name} {count}" for name, count in zip(tables, counts, strict=True))
    return above((share, float(low), float(high)), 0.5, len(shared), f"separated of {len(methods)}: {told}")


def _not_separated(gains: np.ndarray) -> tuple[float, list[int]]:
    """The share of :func:`older_fail`, and the number of separated methods per metric; gains (metrics, images, methods)."""
    separated = np.zeros((len(gains), gains.shape[2]), dtype=bool)
    for place, gain in enumerate(gains):
        moved = (gain != 0).any(axis=0)
        p = np.ones(gain.shape[1])
        if moved.any():
            p[moved] = wilcoxon(gain[:, moved], axis=0, method="approx").pvalue
        separated[place] = (holm(p) < 0.05) & (gain.mean(axis=0) > 0)
    of_saco = separated[0]
    share = float((~separated[1:, of_saco]).mean()) if of_saco.any() else np.nan
    return share, [int(row.sum()) for row in separated]


def raise_saco(scores: pd.DataFrame) -> Reading:
    """Weighting by gradients raises SaCo, and aggregating over layers does; each is a mean paired difference above 0."""
    table = grid(scores, "saco")
    last, last_gradient, every, every_gradient = (table[name] for name in (*ONLY_LAST, *ALL))
    effects = {
        "gradients": (last_gradient - last + every_gradient - every) / 2,
        "layers": (every - last + every_gradient - last_gradient) / 2,
    }
    return weakest({name: above(confidence_interval(effect), 0, len(table)) for name, effect in effects.items()})


def dds_keeps(predictions: pd.DataFrame, stability: pd.DataFrame) -> Reading:
    """Behind DDS an attack changes fewer predictions and fewer of the top patches than without it.

    Args:
        predictions: rows (image_id, attack, smoothing, prediction) of the attacks ``clean`` and another.
        stability: overlaps of the top patches with the clean map behind the same smoothing: rows (image_id, method, smoothing, value).
    """
    wide = predictions.pivot(index="image_id", columns=["smoothing", "attack"], values="prediction")
    attack = next(name for name in predictions["attack"].unique() if name != "clean")
    kept = {
        smoothing: (wide[smoothing, attack] == wide[smoothing, "clean"]).astype(float) for smoothing in ("dds", "none")
    }
    looking = stability[(stability["method"] != "random") & np.isfinite(stability["value"])]  # random maps do not look
    overlap = looking.pivot_table(index="image_id", columns="smoothing", values="value", aggfunc="mean").dropna()
    gains = {"predictions": kept["dds"] - kept["none"], "top patches": overlap["dds"] - overlap["none"]}
    return weakest({name: above(confidence_interval(gain), 0, len(gain)) for name, gain in gains.items()})


def certificates_cover(certificates: pd.DataFrame, length: float) -> Reading:
    """Certificates cover most attacks: the share of maps with a sound radius above the l2 length of the attack exceeds ½."""
    rows = certificates[certificates["sound"].astype(bool) & (certificates["method"] != "")]
    shares = (rows["radius"] > length).groupby(rows["image_id"]).mean()
    remark = f"l2 {length:.2f}, largest radius {rows['radius'].max():.2f}"
    return above(confidence_interval(shares), 0.5, len(shares), remark)


def diffmask_faithful(scores: pd.DataFrame, metrics: Mapping[str, str]) -> Reading:
    """DiffMask's SaCo is above that of random maps with each fill; ``metrics`` maps the fill to its metric."""
    parts = {}
    for fill, metric in metrics.items():
        table = grid(scores, metric)
        parts[fill] = above(confidence_interval(table["diffmask"] - table["random"]), 0, len(table))
    return weakest(parts)


def localisation_follows(scores: pd.DataFrame, truth: str) -> Reading:
    """Methods with more SaCo are better located: Kendall's τ of the two orders of methods is above 0."""
    tables = [grid(scores, metric, COVERAGE).drop(columns="random", errors="ignore") for metric in ("saco", truth)]
    images = tables[0].index.intersection(tables[1].index)
    methods = tables[0].columns.intersection(tables[1].columns)
    tau = order_agreement(*(table.loc[images, methods].to_numpy() for table in tables))
    return above(tau, 0, len(images), f"{len(methods)} methods")

"""What a claim comes to under one choice: a number, its interval, and whether the interval supports the claim."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from vitfaith.statistics.clusters import cluster_codes, cluster_count
from vitfaith.statistics.common import comparable
from vitfaith.statistics.intervals import confidence_interval, wilson

Interval = tuple[float, float, float]
"""Number, and the bounds of its interval."""


class NotComparedError(Exception):
    """A method of the claim has values on too few images; the claim is not tested there."""


@dataclass(frozen=True)
class Reading:
    """What a claim comes to under one choice.

    Attributes:
        number: the quantity that decides, NaN where it is undefined.
        low, high: its 95 % interval over images.
        margin: how far inside the claim the whole interval lies; the claim survives where it is positive.
        against: how far outside the claim the whole interval lies; the claim is contradicted where it is positive.
        n: images, or clusters of images.
        remark: what else to know.
    """

    number: float
    low: float
    high: float
    margin: float
    against: float
    n: int
    remark: str = ""

    @property
    def state(self) -> str:
        """``survives`` or ``contradicted`` where the whole interval agrees, else ``open``; ``undefined`` without an interval."""
        if np.isnan(self.margin) or np.isnan(self.against):
            return "undefined"
        return "survives" if self.margin > 0 else "contradicted" if self.against > 0 else "open"

    @property
    def text(self) -> str:
        """Number and interval."""
        return "–" if np.isnan(self.number) else f"{self.number:.2f} [{self.low:.2f}, {self.high:.2f}]"


def above(values: Interval, threshold: float, n: int, remark: str = "") -> Reading:
    """A claim that a number lies above ``threshold``."""
    number, low, high = values
    return Reading(number, low, high, low - threshold, threshold - high, n, remark)


def near_zero(values: Interval, distance: float, n: int) -> Reading:
    """A claim that a number lies within ±``distance``."""
    number, low, high = values
    return Reading(number, low, high, distance - max(abs(low), abs(high)), max(low, -high) - distance, n)


def support(reading: Reading) -> float:
    """The margin of a reading; an undefined one has the least."""
    return -np.inf if np.isnan(reading.margin) else reading.margin


def weakest(readings: Mapping[str, Reading]) -> Reading:
    """The reading with the smallest margin, its name in the remark: a claim of several parts holds where all do."""
    name, found = min(readings.items(), key=lambda item: support(item[1]))
    return Reading(found.number, found.low, found.high, found.margin, found.against, found.n, name)


def share_of(shares: pd.Series, clusters: Sequence[Any] | None) -> Interval:
    """Mean of shares per image and its interval, whole clusters resampled; Wilson's where all are 0 or all are 1."""
    mean, low, high = confidence_interval(shares.to_numpy(), clusters=clusters)
    if low == high and mean in (0.0, 1.0):
        low, high = wilson(int(mean) * len(shares), len(shares), 0.95, count(len(shares), clusters))
    return mean, low, high


def clusters_of(rows: pd.DataFrame, images: pd.Index) -> list[Any] | None:
    """The cluster of each of ``images``; None where the rows have no clusters."""
    if "cluster" not in rows:
        return None
    known = rows.drop_duplicates("image_id").set_index("image_id")["cluster"].reindex(images)
    return [None if pd.isna(cluster) else cluster for cluster in known]


def count(images: int, clusters: Sequence[Any] | None) -> int:
    """Independent images: clusters, or images where none share one."""
    return cluster_count(images, cluster_codes(clusters))


def grid(
    scores: pd.DataFrame, metric: str, methods: Sequence[str] | None = None
) -> tuple[pd.DataFrame, list[Any] | None]:
    """Images × compared methods of one metric, on the images with a value of all of them, and the clusters of the images.

    As in the tables of a run, a method needs values on the share :data:`~vitfaith.statistics.common.COVERAGE` of the images.

    Args:
        methods: the only ones; default: all that are compared.

    Raises:
        NotComparedError: one of ``methods`` has values on fewer images; the text names it.
    """
    rows = scores[scores["metric"] == metric]
    table = rows.pivot(index="image_id", columns="method", values="value")
    table = table.where(np.isfinite(table)).dropna(how="all")
    images = comparable(table.T)[0].T
    if methods is not None:
        rare = next((method for method in methods if method not in images), None)
        if rare is not None:
            share = table[rare].notna().mean() if rare in table else 0
            raise NotComparedError(f"{rare} has values on {100 * share:.0f} % of the images")
        images = table[list(methods)].dropna()
    return images, clusters_of(rows, images.index)

"""Two conditions side by side: paired differences of every method's scores on the same images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vitfaith.statistics import common_images
from vitfaith.statistics.paired import COLUMNS as TESTS
from vitfaith.statistics.paired import finished, paired_differences
from vitfaith.tables.collect import CONDITION, sort_rows
from vitfaith.tables.files import Place
from vitfaith.tables.vectors import Vectors

AXES = ("model", "attack", "smoothing")
"""Columns in which two compared conditions may differ; :mod:`vitfaith.tables.explained` compares explained classes."""

UNIT = ["reference", "metric", "variant"]
KEYS = [*CONDITION, "axis", "other", *UNIT, "method"]
COLUMNS = [*KEYS, *TESTS[2:], "confidence"]

ENTRIES = 8_000_000
"""Most values of a condition in memory at once."""

Key = tuple[str, str, str, str]
"""Reference, metric, variant and method."""


class ConditionPairs:
    """Scores of all conditions, kept in ``vectors`` until :meth:`table` compares them."""

    def __init__(self, vectors: Vectors) -> None:
        self._vectors = vectors
        self._kept: list[tuple[Place, NDArray[np.object_] | None, dict[Key, int]]] = []

    def add(
        self, place: Place, values: Mapping[Key, NDArray[np.float64]], clusters: NDArray[np.object_] | None = None
    ) -> None:
        """Enter a condition.

        Args:
            place: the condition.
            values: key → (N,) over the sorted images of the dataset; NaN where there is none.
            clusters: (N,) cluster of each image, None for an image alone.
        """
        self._kept.append((place, clusters, {key: self._vectors.append(vector) for key, vector in values.items()}))

    def table(self, coverage: float, **settings: Any) -> pd.DataFrame:
        """One row per (condition, axis, other, reference, metric, variant, method), both ways round.

        ``axis`` is the column in which the two conditions differ, ``other`` its value in the second one. ``difference`` is
        the mean over images of (first − second), with its interval and p of Wilcoxon's signed-rank test; ``p_adjusted`` by
        Holm over the methods. A method with scores of too few images in one condition has n = 0.

        Args:
            coverage: see :func:`~vitfaith.statistics.common.common_images`.
            settings: confidence, resamples and seed of the intervals.
        """
        parts = [
            self._compare(first, second, axis, coverage, settings)
            for first, second in combinations(range(len(self._kept)), 2)
            if (axis := differing(self._kept[first][0], self._kept[second][0]))
        ]
        if not parts:
            return pd.DataFrame(columns=COLUMNS)
        found = pd.concat(parts, ignore_index=True)
        found = finished(found, [*CONDITION, "axis", "other", *UNIT], float(settings["confidence"]))
        return sort_rows(found[COLUMNS], KEYS)

    def _compare(
        self, first: int, second: int, axis: str, coverage: float, settings: Mapping[str, Any]
    ) -> pd.DataFrame:
        (here, clusters, own), (there, _, others) = self._kept[first], self._kept[second]
        keys = [key for key in own if key in others]
        numbers = [
            paired_differences((self._pair(own[key], others[key], coverage) for key in some), clusters, **settings)
            for some in self._blocks(keys, own)
        ]
        rows = pd.DataFrame(keys, columns=[*UNIT, "method"])
        if not keys:
            return rows.reindex(columns=[*rows.columns, *CONDITION, "axis", "other", *TESTS[2:]])
        rows = pd.concat([rows, pd.concat(numbers, ignore_index=True)], axis=1)
        mirrored = rows.assign(difference=-rows.difference, low=-rows.high, high=-rows.low)
        return pd.concat(
            [
                rows.assign(**here, axis=axis, other=there[axis]),
                mirrored.assign(**there, axis=axis, other=here[axis]),
            ],
            ignore_index=True,
        )

    def _blocks(self, keys: list[Key], numbers: Mapping[Key, int]) -> Iterator[list[Key]]:
        """Keys in blocks that fit the memory; keys in one block share the resamples."""
        size = max(1, ENTRIES // max(1, *(self._vectors.size(numbers[key]) for key in keys))) if keys else 1
        for start in range(0, len(keys), size):
            yield keys[start : start + size]

    def _pair(self, first: int, second: int, coverage: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Two vectors with NaN beside the images that both have; all NaN where one covers too few."""
        values = np.stack([self._vectors.read(first), self._vectors.read(second)])
        common = common_images(np.isfinite(values), coverage)
        kept = common.images if common.compared.all() else np.zeros_like(common.images)
        return np.where(kept, values[0], np.nan), np.where(kept, values[1], np.nan)


def differing(first: Place, second: Place) -> str:
    """The column of :data:`AXES` in which alone two conditions differ; empty where they differ in others or several."""
    found = [name for name in CONDITION if first[name] != second[name]]
    return found[0] if len(found) == 1 and found[0] in AXES else ""

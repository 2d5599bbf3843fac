"""Summaries of groups, condition by condition, equal to summaries of all rows at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vitfaith.statistics.clusters import cluster_codes
from vitfaith.statistics.common import common_images
from vitfaith.statistics.summary import NUMBERS, sample_numbers
from vitfaith.tables.vectors import StoredSamples, Vectors


class Collected:
    """What :func:`vitfaith.statistics.summarise_compared` makes of rows, from units of rows that are compared with each other.

    Values stay in ``vectors``. Only when all units are known do groups of one size get their intervals, in the order of
    all groups, since the last bits of numbers depend on both.
    """

    def __init__(self, by: Sequence[str], vectors: Vectors, empty: pd.DataFrame | None = None) -> None:
        self._by, self._vectors, self._empty = list(by), vectors, empty
        self._keys: list[pd.DataFrame] = []
        self._facts: list[tuple[int, bool, int]] = []
        self._own: list[int] = []
        self._shared: list[int] = []
        self._own_codes: list[int | None] = []
        self._shared_codes: list[int | None] = []

    def add(
        self,
        keys: pd.DataFrame,
        methods: Sequence[str],
        values: NDArray[Any],
        present: NDArray[np.bool_],
        coverage: float,
        clusters: NDArray[np.object_] | None = None,
    ) -> None:
        """Add groups whose methods are compared.

        Args:
            keys: one row per group, with the columns ``by``.
            methods: (K,) method of each group; one can have several groups (the steps of a curve), which share their images.
            values: (K, N) over the images in their order; not finite where there is none.
            present: (K, N), whether there is a row.
            coverage: see :func:`~vitfaith.statistics.common.common_images`.
            clusters: (N,) cluster of each image, None where it is alone.
        """
        names, method = np.unique(np.asarray(methods, dtype=object), return_inverse=True)
        known = np.isfinite(values) & present
        every = [(present[method == m].sum(0), known[method == m].sum(0)) for m in range(len(names))]
        found = common_images(np.stack([(rows > 0) & (rows == finite) for rows, finite in every]), coverage)
        for group, m in enumerate(method):
            own = known[group]
            shared = own & found.images if found.compared[m] else np.zeros_like(own)
            count = int(own.sum())
            self._facts.append((int(present[group].sum()) - count, bool(found.compared[m]), found.asked))
            self._enter(self._own, self._own_codes, values[group], own, clusters)
            if int(shared.sum()) == count:
                self._shared.append(self._own[-1])
                self._shared_codes.append(self._own_codes[-1])
            else:
                self._enter(self._shared, self._shared_codes, values[group], shared, clusters)
        self._keys.append(keys)

    def _enter(
        self,
        numbers: list[int],
        codes: list[int | None],
        values: NDArray[Any],
        kept: NDArray[np.bool_],
        clusters: NDArray[np.object_] | None,
    ) -> None:
        numbers.append(self._vectors.append(values if kept.all() else values[kept]))
        found = None if clusters is None else cluster_codes(clusters[kept])
        codes.append(None if found is None else self._vectors.append(found))

    def __len__(self) -> int:
        return len(self._own)

    def keys(self) -> pd.DataFrame:
        """One row per group, in the order of arrival."""
        if not self._keys and self._empty is not None:
            return self._empty
        return pd.concat(self._keys, ignore_index=True)

    def table(self, **settings: Any) -> pd.DataFrame:
        """The table of :func:`~vitfaith.statistics.summarise_compared`, sorted by the columns ``by``.

        Args:
            settings: confidence, resamples and seed of the intervals.
        """
        keys = self.keys()
        order = np.argsort(keys.groupby(self._by, sort=True, observed=True, dropna=False).ngroup().to_numpy())
        own = self._samples(self._own, self._own_codes, order)
        shared = self._samples(self._shared, self._shared_codes, order)
        whole = sample_numbers(own, **settings)
        same = all(self._own[i] == self._shared[i] for i in order)
        common = whole if same else sample_numbers(shared, **settings)
        facts = np.array([self._facts[i] for i in order], np.int64).reshape(-1, 3)
        columns: dict[str, Any] = {
            "n": shared.n,
            "flagged": facts[:, 0],
            **common,
            "confidence": float(settings["confidence"]),
            "compared": facts[:, 1].astype(bool),
            "asked": facts[:, 2],
            "n_own": own.n,
            **{f"{name}_own": whole[name] for name in ("mean", "low", "high")},
        }
        return keys.iloc[order].reset_index(drop=True)[self._by].assign(**columns)[[*self._by, *NUMBERS]]

    def _samples(self, numbers: Sequence[int], codes: Sequence[int | None], order: NDArray[np.int64]) -> StoredSamples:
        return StoredSamples(self._vectors, [numbers[i] for i in order], [codes[i] for i in order])


def joined(parts: Sequence[Collected], vectors: Vectors) -> Collected:
    """Several collections of the same columns and ``vectors`` as one."""
    found = Collected(parts[0]._by, vectors)
    found._keys = [pd.concat([part.keys() for part in parts], ignore_index=True)]
    for part in parts:
        found._facts += part._facts
        found._own += part._own
        found._shared += part._shared
        found._own_codes += part._own_codes
        found._shared_codes += part._shared_codes
    return found

"""Tables from scores, stability and sanity in one pass over the conditions: summary, tests, agreement, gallery images."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from vitfaith.explained import COLUMN
from vitfaith.order import natural
from vitfaith.statistics import paired_comparisons
from vitfaith.statistics.agreement import agreement_of
from vitfaith.statistics.paired import COLUMNS as TESTS
from vitfaith.statistics.paired import compare_all
from vitfaith.tables.chosen import Chooser, Unit, compared_cells
from vitfaith.tables.clusters import Images
from vitfaith.tables.collect import CONDITION, INPUT, sort_rows
from vitfaith.tables.conditions import ConditionPairs
from vitfaith.tables.explained import explained_table, explained_tests
from vitfaith.tables.growing import GrowingTable
from vitfaith.tables.measured import KINDS, OF_SCORES, Kind, Measured, empty_rows, read_measured
from vitfaith.tables.pooled import KEYS, pooled_summary
from vitfaith.tables.sample import Sample, sampled_scores
from vitfaith.tables.summed import Collected, joined
from vitfaith.tables.vectors import Vectors

GROUP = [*CONDITION, "metric", "variant", "reference"]
"""Columns of a family of paired tests."""


class ScoreTables:
    """Tables of an experiment's values of images.

    Args:
        spec: of the tables.
        settings: confidence, resamples and seed.
        vectors: where values stay until the summary.
        sample: dataset → images whose scores are kept.
    """

    def __init__(self, spec: Mapping[str, Any], settings: Mapping[str, Any], vectors: Vectors, sample: Sample) -> None:
        self._spec, self._settings, self._vectors = spec, dict(settings), vectors
        self._coverage = spec["statistics"]["coverage"]
        self._collected = {kind.stage: Collected(KEYS, vectors) for kind in KINDS}
        self._pooled: list[pd.DataFrame] = []
        self._tests: list[pd.DataFrame] = []
        self._agreement: list[pd.DataFrame] = []
        self._explained: list[pd.DataFrame] = []
        self._before: list[Measured] = []
        self._sample, self._sampled = sample, list[pd.DataFrame]()
        self._pairs = ConditionPairs(vectors)
        self._chooser = Chooser(self._coverage, spec["cells"][0]["condition"]["explained"])

    def read(self, results: str, images: Mapping[str, Images], paths: Mapping[str, Path]) -> None:
        """Read every condition once, and write the tables of single images to ``paths``, one per stage.

        Raises:
            ArtifactError: a file is missing or damaged.
            InputError: a method has two values for one image.
        """
        for kind in KINDS:
            self._read(kind, results, images, paths[kind.stage])

    def _read(self, kind: Kind, results: str, images: Mapping[str, Images], path: Path) -> None:
        files, conditions = read_measured(kind, self._spec, results, images)
        several = len(files.values.get(COLUMN, ())) > 1
        with GrowingTable(path, empty_rows(kind, files)) as out:
            for values in conditions:
                values.write(out)
                values.collect(self._collected[kind.stage], self._coverage, self._spec["pooled"])
                if kind is OF_SCORES:
                    self._pool(values)
                    self._compare(values)
                    self._agree(values)
                    self._choose(values)
                    self._sampled.append(sampled_scores(values, self._sample[values.place["dataset"]]))
                    self._keep(values)
                    if several:
                        self._explain(values)
        if kind is OF_SCORES and several:
            self._explain(None)

    def _units(self, values: Measured) -> dict[tuple[str, str, str], list[tuple[str, int]]]:
        return {u: m for u, m in values.units().items() if u[1] not in self._spec["pooled"]}

    def _pool(self, values: Measured) -> None:
        names = {number: key for key, number in values.ordered()}
        pooled = [n for n, key in names.items() if key[values.kind.names.index("metric")] in self._spec["pooled"]]
        if pooled:
            rows = values.frame(pooled, names)
            settings = {**self._settings, "coverage": self._coverage}
            self._pooled.append(pooled_summary(rows, self._spec["pooled"], **settings))

    def _compare(self, values: Measured) -> None:
        place = {name: values.place[name] for name in CONDITION}
        for (reference, metric, variant), methods in self._units(values).items():
            tests = compare_all(
                values.table(methods), values.images.cluster_of, coverage=self._coverage, **self._settings
            )
            names = {**place, "metric": metric, "variant": variant, "reference": reference}
            self._tests.append(tests.assign(**names)[[*GROUP, *TESTS]])

    def _keep(self, values: Measured) -> None:
        kept = {
            (*unit, method): values.values([number])[0]
            for unit, methods in self._units(values).items()
            for method, number in methods
        }
        self._pairs.add(values.place, kept, values.images.clusters)

    def _agree(self, values: Measured) -> None:
        units = self._units(values)
        methods = sorted({method for unit in units.values() for method, _ in unit})
        if not methods:
            return
        grids, turned = {}, {}
        for (_, metric, variant), unit in units.items():
            name = f"{metric} {variant}" if variant else metric
            grid = np.full((len(methods), len(values.images.names)), np.nan)
            grid[[methods.index(method) for method, _ in unit]] = values.values([number for _, number in unit])
            grids[name], turned[name] = grid, self._spec["directions"].get(metric, "higher")
        found = agreement_of(grids, methods, turned, coverage=self._coverage)
        self._agreement.append(found.assign(**{name: values.place[name] for name in CONDITION}))

    def _choose(self, values: Measured) -> None:
        scored = np.flatnonzero(values.grid.present.any(axis=0))
        self._chooser.see(values.images.names[scored])
        units: list[Unit] = []
        for (_, metric, variant), methods in values.units().items():
            if metric.startswith("saco"):
                keys = [((method, metric, natural(variant)), row) for row, (method, _) in enumerate(methods)]
                units.append((keys, values.values([number for _, number in methods])))
        cells = compared_cells(units, self._coverage)
        self._chooser.add(values.place["dataset"], values.place[COLUMN], values.images.names, cells)

    def _explain(self, values: Measured | None) -> None:
        """Keep a condition until all explained classes of its images are read, then compare them."""
        before = self._before
        if values is not None and (not before or _same_input(before[0], values)):
            before.append(values)
            return
        self._before = [] if values is None else [values]
        found: dict[tuple[str, str, str], list[tuple[str, np.ndarray]]] = {}
        for one in before:
            for (_, metric, variant), methods in self._units(one).items():
                for method, number in methods:
                    found.setdefault((method, metric, variant), []).append((one.place[COLUMN], one.values([number])[0]))
        for (method, metric, variant), rows in found.items():
            names = {name: before[0].place[name] for name in INPUT}
            named = {**names, "method": method, "metric": metric, "variant": variant}
            rows = sorted(rows, key=lambda row: row[0])
            table = pd.DataFrame(
                np.stack([row for _, row in rows]),
                index=pd.Index([explained for explained, _ in rows], name="method"),
                columns=before[0].images.names,
            )
            clusters = before[0].images.cluster_of
            tests = explained_tests(table, named, clusters, coverage=self._coverage, **self._settings)
            self._explained.append(tests)

    def summary(self) -> pd.DataFrame:
        """Mean, interval and number of images of every value, metrics of one score a data set included."""
        filled = [collected for collected in self._collected.values() if len(collected)]
        parts = [joined(filled, self._vectors).table(**self._settings)] if filled else []
        if self._pooled:
            # where a condition compares nothing, its columns of numbers have no type
            numbers = {name: kind for part in self._pooled for name, kind in part.dtypes.items() if kind.kind == "f"}
            parts.append(pd.concat([part.astype(numbers) for part in self._pooled], ignore_index=True))
        return sort_rows(pd.concat(parts, ignore_index=True), KEYS)

    def comparisons(self) -> pd.DataFrame:
        """Paired tests of every two methods by every metric."""
        if not self._tests:
            return paired_comparisons(pd.DataFrame(columns=[*GROUP, "method", "image_id", "value"]), by=GROUP)
        return sort_rows(pd.concat(self._tests, ignore_index=True), [*GROUP, "method", "opponent"])

    def agreement(self) -> pd.DataFrame:
        """Rank correlations between every two metrics (with their variants) in every condition."""
        if not self._agreement:
            return agreement_of({}, []).assign(**dict.fromkeys(CONDITION, ""))
        return pd.concat(self._agreement, ignore_index=True)

    def explained(self, differ: pd.DataFrame) -> pd.DataFrame:
        """Paired differences between explained classes, see :func:`~vitfaith.tables.explained.explained_table`."""
        return explained_table(self._explained, differ, self._settings["confidence"])

    def conditions(self) -> pd.DataFrame:
        """Paired differences between conditions, see :meth:`~vitfaith.tables.conditions.ConditionPairs.table`."""
        return self._pairs.table(self._coverage, **self._settings)

    def sampled(self) -> pd.DataFrame:
        """The scores of the sampled images, see :func:`~vitfaith.tables.sample.sampled_scores`."""
        if not self._sampled:
            return pd.DataFrame(columns=[*CONDITION, "image_id", "method", "metric", "variant", "value"])
        return pd.concat(self._sampled, ignore_index=True)

    def chosen(self) -> dict[str, str]:
        """Image → role in the gallery."""
        return self._chooser.roles()


def _same_input(one: Measured, other: Measured) -> bool:
    return all(one.place[name] == other.place[name] for name in INPUT)

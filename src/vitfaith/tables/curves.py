"""Curves of the model's answer against the share of replaced features, averaged over images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vitfaith.artifacts.schemas import CURVES
from vitfaith.artifacts.store import read_table
from vitfaith.statistics import COVERAGE
from vitfaith.tables import pairs as pairs_table
from vitfaith.tables.clusters import Images
from vitfaith.tables.collect import CONDITION, sort_rows
from vitfaith.tables.files import stage_files
from vitfaith.tables.grid import Grid, grid_of
from vitfaith.tables.pairs import joined, pairs_of
from vitfaith.tables.sample import Sample, broken_pairs, empty_pairs
from vitfaith.tables.summed import Collected
from vitfaith.tables.vectors import Vectors

STEP = [*CONDITION, "method", "curve", "variant", "step"]
NAMES = tuple(STEP[len(CONDITION) :])
QUANTITIES = ("probability", "kl")
FIELDS = ("fraction", *QUANTITIES)
GROUPS = "groups"
READ = pa.schema([CURVES.field(name) for name in ("image_id", *NAMES, *FIELDS, "salience")])


class CurveTable:
    """The table of curves from conditions that come one after the other.

    Args:
        vectors: where the values stay until all are known.
        coverage: see :func:`~vitfaith.statistics.common.common_images`.
        conditions: empty columns of the condition, for a table without rows.
    """

    def __init__(
        self, vectors: Vectors, coverage: float = COVERAGE, conditions: Mapping[str, pa.Array] | None = None
    ) -> None:
        self._coverage = coverage
        kinds = dict.fromkeys([*CONDITION, *NAMES], pa.string()) | {"step": pa.int16(), "fraction": pa.float32()}
        empty = pa.table(
            {name: pa.array([], kind) for name, kind in kinds.items()} | dict(conditions or {})
        ).to_pandas()
        by = [*STEP, "fraction"]
        self._collected = {name: Collected(by, vectors, empty[by]) for name in QUANTITIES}

    def add(
        self, grid: Grid, columns: Mapping[str, pa.Array | Sequence[str]], clusters: NDArray[np.object_] | None
    ) -> None:
        """Enter one condition.

        Args:
            grid: of the keys :data:`NAMES` and the fields :data:`FIELDS`.
            columns: one row of the condition's columns.
            clusters: (N,) cluster of each image, None where none has one.
        """
        for curve, variant in grid.values("curve", "variant"):
            chosen = grid.numbers(curve=curve, variant=variant)
            numbers = [number for _, number in chosen]
            parts = {name: [key[i] for key, _ in chosen] for i, name in enumerate(NAMES)}
            keys = pa.table(
                {name: pa.array(parts[name], pa.int16() if name == "step" else pa.string()) for name in NAMES}
            ).to_pandas()
            place = pa.table(columns).to_pandas()
            keys = keys.assign(**{name: place[name].repeat(len(keys)).array for name in CONDITION})
            keys["fraction"] = _mean_fraction(grid, numbers)
            for name, collected in self._collected.items():
                collected.add(
                    keys[[*STEP, "fraction"]],
                    parts["method"],
                    grid.fields[name][numbers],
                    grid.present[numbers],
                    self._coverage,
                    clusters,
                )

    def table(self, **settings: Any) -> pd.DataFrame:
        """See :func:`curve_table`; ``settings`` are confidence, resamples and seed."""
        steps = [*STEP, "fraction"]
        means = [
            sort_rows(collected.table(**settings), steps).assign(quantity=name)
            for name, collected in self._collected.items()
        ]
        return pd.concat(means, ignore_index=True)


def read_curves(
    spec: Mapping[str, Any], results: str, images: Mapping[str, Images], vectors: Vectors, sample: Sample
) -> tuple[CurveTable, pd.DataFrame, pd.DataFrame]:
    """The curves of an experiment, its table of pairs (:func:`~vitfaith.tables.pairs.pair_table`), and the broken pairs of sampled images.

    Raises:
        ArtifactError: a file is missing or damaged.
    """
    files = stage_files(spec, results, "curves")
    coverage = spec["statistics"]["coverage"]
    found = CurveTable(vectors, coverage, {n: files.column(n, np.zeros(0)) for n in CONDITION if n in files.values})
    groups, broken = [], [empty_pairs()]
    for place, paths in files.parts:
        own = images[place["dataset"]]
        curves = Grid(own.names, NAMES, dict.fromkeys(FIELDS, np.float32))
        pairs = Grid(own.names, pairs_table.NAMES, dict.fromkeys(pairs_table.FIELDS, np.float32))
        for path in paths:
            table = read_table(path, READ)
            curves.add(table, lambda key: key[0] in spec["explainers"])
            table = table.filter(pc.equal(table.column("curve"), GROUPS))
            pairs.add(table, lambda key: key[0] in spec["explainers"])
        curves.check()
        pairs.check()
        groups.append(pairs_of(pairs, place, coverage))
        broken.append(broken_pairs(pairs, place, sample[place["dataset"]]))
        found.add(curves, files.columns(place, 1), own.clusters)
    return found, joined(groups), pd.concat([b for b in broken if len(b)] or broken, ignore_index=True)


def _mean_fraction(grid: Grid, numbers: Sequence[int]) -> NDArray[np.float32]:
    """Mean share of the replaced features over the images of each step, added up as a group of a data frame is."""
    shares = pd.DataFrame(grid.fields["fraction"][list(numbers)].T.astype(float))
    return shares.groupby(np.zeros(len(shares), np.int64)).mean().to_numpy()[0].astype(np.float32)


def curve_table(
    curves: pd.DataFrame, *, coverage: float = COVERAGE, confidence: float = 0.95, resamples: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """One row per (condition, method, curve, variant, step, quantity): mean, interval and number of images.

    ``quantity`` is "probability" or "kl". ``fraction`` is the mean over the images of the row: images differ in which of
    their groups are the larger ones, and in their number of superpixels.

    Args:
        curves: rows of schema ``CURVES`` with the condition's columns.
        coverage: see :func:`~vitfaith.statistics.common.common_images`; all steps of a curve share their images.
        confidence, resamples, seed: of the intervals, see :func:`~vitfaith.statistics.summary.summarise`.
    """
    found = CurveTable(Vectors(), coverage)
    for key, rows in curves.groupby(CONDITION, observed=True, sort=True):
        grid, clusters = grid_of(rows, NAMES, FIELDS), None
        if "cluster" in rows:
            named = rows.drop_duplicates("image_id").set_index("image_id")["cluster"]
            clusters = named.loc[grid.images].to_numpy(object)
        found.add(grid, {name: [str(value)] for name, value in zip(CONDITION, key, strict=True)}, clusters)
    return found.table(confidence=confidence, resamples=resamples, seed=seed)

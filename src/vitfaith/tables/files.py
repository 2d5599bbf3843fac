"""The files of a stage, one condition after the other, so that tables never hold two conditions at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from vitfaith.artifacts.store import partition_values, row_count
from vitfaith.tables.collect import CONDITION, cell_files

Place = Mapping[str, str]
"""Column of a condition → its value."""


@dataclass(frozen=True)
class StageFiles:
    """All files of a stage in an experiment.

    Attributes:
        parts: files of each condition, in the order of the experiment's lists.
        values: partition column → its values in that order; they are the categories of the column. Files without rows count for
            neither.
    """

    parts: list[tuple[Place, list[Path]]]
    values: Mapping[str, list[str]]

    def columns(self, place: Place, count: int) -> dict[str, pa.Array]:
        """The partition columns of ``count`` rows of a condition."""
        return {name: self.column(name, np.full(count, self.values[name].index(place[name]))) for name in place}

    def column(self, name: str, codes: np.ndarray) -> pa.Array:
        """A partition column from places in ``values``."""
        return pa.DictionaryArray.from_arrays(
            pa.array(codes.astype(np.int32)), pa.array(self.values[name], pa.string())
        )


def stage_files(spec: Mapping[str, Any], results: str, stage: str, *, family: bool = True) -> StageFiles:
    """The files of ``stage`` by condition; ``family`` says whether its paths name families."""
    values: dict[str, dict[str, None]] = {}
    parts: dict[tuple[str, ...], tuple[Place, list[Path]]] = {}
    for path in cell_files(spec, results, stage, family=family):
        place, filled = partition_values(path), row_count(path) > 0
        for name, value in place.items():
            values.setdefault(name, {}).update({value: None} if filled else {})
        if not filled:
            continue
        condition = {name: place[name] for name in CONDITION if name in place}
        parts.setdefault(tuple(condition.values()), (condition, []))[1].append(path)
    listed = {name: list(found) for name, found in values.items()}
    ordered = sorted(parts.values(), key=lambda part: [listed[name].index(value) for name, value in part[0].items()])
    return StageFiles(ordered, listed)


def by_input(files: StageFiles) -> Iterator[list[tuple[Place, list[Path]]]]:
    """The conditions that differ in the explained class alone, together."""
    together: dict[tuple[str, ...], list[tuple[Place, list[Path]]]] = {}
    for place, paths in files.parts:
        together.setdefault(tuple(place[name] for name in CONDITION[:-1]), []).append((place, paths))
    yield from together.values()

"""Scores, stability and sanity: one value for each image and key, read condition by condition."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from vitfaith.artifacts.schemas import SANITY, SCORES, STABILITY
from vitfaith.artifacts.store import partition_values, read_table
from vitfaith.order import natural
from vitfaith.tables.clusters import Images
from vitfaith.tables.collect import CONDITION
from vitfaith.tables.files import Place, StageFiles, stage_files
from vitfaith.tables.grid import Grid, Key
from vitfaith.tables.growing import PIECE, GrowingTable, empty_frame, texts, with_column
from vitfaith.tables.pooled import KEYS
from vitfaith.tables.summed import Collected


@dataclass(frozen=True)
class Kind:
    """A measured quantity: its folder and schema, and the columns that distinguish an image's values.

    Attributes:
        keys: columns beside the image, in the order in which rows are sorted.
        item: the key column that names what an experiment asks for.
    """

    stage: str
    schema: pa.Schema
    keys: tuple[str, ...]
    item: str

    @property
    def names(self) -> tuple[str, ...]:
        """All columns of a key."""
        return (*self.keys, *(("step",) if "step" in self.schema.names else ()), "family")

    def order(self, key: Key) -> tuple[Any, ...]:
        """Sort key of a key; variants by the numbers in them."""
        return tuple(natural(part) if name == "variant" else part for name, part in zip(self.names, key, strict=True))

    def summary_key(self, key: Key) -> tuple[str, str, str, str]:
        """Method, reference, metric and variant of a summary; of a sanity check the id, and what it measured."""
        told = dict(zip(self.names, key, strict=True))
        if self.item == "check":
            told |= {"metric": told["check"], "variant": f"{told['metric']} {told['variant']}".strip()}
        return told["method"], told.get("reference", ""), told["metric"], told["variant"]


OF_SCORES = Kind("scores", SCORES, ("method", "metric", "variant"), "metric")
OF_STABILITY = Kind("stability", STABILITY, ("reference", "method", "metric", "variant"), "metric")
OF_SANITY = Kind("sanity", SANITY, ("check", "reference", "method", "metric", "variant"), "check")

KINDS = (OF_SCORES, OF_STABILITY, OF_SANITY)


@dataclass(frozen=True)
class Measured:
    """The values of one condition.

    Attributes:
        place: the condition.
        grid: keys → values and flags over the images.
        files: of the whole stage.
    """

    kind: Kind
    place: Place
    grid: Grid
    images: Images
    files: StageFiles

    def ordered(self) -> list[tuple[Key, int]]:
        """(key, number) in the order of the tables' rows."""
        return sorted(self.grid.keys.items(), key=lambda pair: self.kind.order(pair[0]))

    def units(self) -> dict[tuple[str, str, str], list[tuple[str, int]]]:
        """(reference, metric, variant) → (method, number) of the values that are compared, sorted."""
        found: dict[tuple[str, str, str], list[tuple[str, int]]] = {}
        for key, number in self.ordered():
            method, *unit = self.kind.summary_key(key)
            found.setdefault((unit[0], unit[1], unit[2]), []).append((method, number))
        return {unit: sorted(found[unit]) for unit in sorted(found)}

    def values(self, numbers: Sequence[int]) -> np.ndarray:
        """(K, N) values of these numbers, NaN where there is no row."""
        return self.grid.fields["value"][list(numbers)]

    def table(self, methods: Sequence[tuple[str, int]]) -> pd.DataFrame:
        """Methods × images, as paired tests want them."""
        names = pd.Index([method for method, _ in methods], name="method")
        return pd.DataFrame(self.values([n for _, n in methods]), index=names, columns=self.images.names)

    def frame(self, numbers: Sequence[int], names: Mapping[int, Key]) -> pd.DataFrame:
        """The rows of these numbers, as a frame with the columns of the table."""
        chosen = np.array(list(numbers), np.int64)
        which, image = np.nonzero(self.grid.present[chosen])
        number = chosen[which]
        told = {name: [names[n][i] for n in chosen] for i, name in enumerate(self.kind.names)}
        columns: dict[str, pa.Array] = {}
        for field in self.kind.schema:
            name = field.name
            if name == "image_id":
                columns[name] = texts(list(self.images.names), image)
            elif name == "value":
                columns[name] = pa.array(self.grid.fields[name][number, image])
            elif name == "flag":
                columns[name] = texts(list(self.grid.texts), self.grid.fields[name][number, image])
            elif pa.types.is_string(field.type):
                columns[name] = texts(told[name], which)
            else:
                columns[name] = pa.array(np.array(told[name], field.type.to_pandas_dtype())[which])
        columns |= self.files.columns(self.place, len(which))
        family = np.array([self.files.values["family"].index(name) for name in told["family"]], np.int64)
        columns["family"] = self.files.column("family", family[which])
        clusters = self.images.clusters
        return with_column(pa.table(columns).to_pandas(), None if clusters is None else clusters[image])

    def write(self, out: GrowingTable) -> None:
        """Append all rows to a table."""
        keys = self.ordered()
        names = {number: key for key, number in keys}
        each = max(1, PIECE // max(1, len(self.images.names)))
        for start in range(0, len(keys), each):
            out.add(self.frame([number for _, number in keys[start : start + each]], names))

    def collect(self, collected: Collected, coverage: float, without: Sequence[str] = ()) -> None:
        """Enter the values in a summary, ``without`` some metrics."""
        for unit, methods in self.units().items():
            if unit[1] in without:
                continue
            numbers = [number for _, number in methods]
            named = [(method, *unit) for method, _ in methods]
            told = dict(zip(KEYS[len(CONDITION) :], map(list, zip(*named, strict=True)), strict=True))
            keys = pa.table(self.files.columns(self.place, len(named)) | told).to_pandas()[KEYS]
            collected.add(
                keys,
                [m for m, _ in methods],
                self.values(numbers),
                self.grid.present[numbers],
                coverage,
                self.images.clusters,
            )


def read_measured(
    kind: Kind, spec: Mapping[str, Any], results: str, images: Mapping[str, Images]
) -> tuple[StageFiles, Iterator[Measured]]:
    """The files of a stage, and the values of each condition, read when they are asked for.

    Rows of methods and items that the experiment does not ask for are left out.
    """
    files = stage_files(spec, results, kind.stage)
    asked = set(spec[{"metric": {"scores": "metrics"}.get(kind.stage, "stability"), "check": "sanity"}[kind.item]])
    method, item = kind.names.index("method"), kind.names.index(kind.item)

    def wanted(key: Key) -> bool:
        return key[method] in spec["explainers"] and key[item] in asked

    def read() -> Iterator[Measured]:
        for place, paths in files.parts:
            own = images[place["dataset"]]
            grid = Grid(own.names, kind.names, {"value": np.float64, "flag": np.int16})
            for path in paths:
                table = read_table(path, kind.schema)
                family = texts([partition_values(path)["family"]], np.zeros(len(table), np.int32))
                grid.add(table.append_column("family", family), wanted)
            grid.check()
            yield Measured(kind, place, grid, own, files)

    return files, read()


def empty_rows(kind: Kind, files: StageFiles) -> pd.DataFrame:
    """The table of a stage without rows."""
    partitions = {name: files.column(name, np.zeros(0, np.int32)) for name in files.values}
    return empty_frame({**{f.name: pa.array([], f.type) for f in kind.schema}, **partitions})

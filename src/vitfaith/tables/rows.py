"""Rows of chosen images out of many files: only the row groups that hold them are read."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from vitfaith.artifacts.attacked import PICTURE, shard_of, with_pixels
from vitfaith.artifacts.schemas import DIGEST, IMAGES, SHARDS
from vitfaith.artifacts.store import open_parquet, partition_values, read_provenance
from vitfaith.tables.clusters import Images
from vitfaith.tables.collect import cell_files
from vitfaith.tables.files import StageFiles, stage_files


def read_rows(path: Path, schema: pa.Schema, wanted: Collection[str], columns: Sequence[str] | None = None) -> pa.Table:
    """The rows of the ``wanted`` images in one file, with ``columns``; row groups without them are not read beyond their ids.

    Raises:
        ArtifactError: the file is missing or damaged.
    """
    handle = open_parquet(path, schema)
    names = [name for name in columns or schema.names if name in handle.schema_arrow.names]
    kept, found = pa.array(list(wanted), pa.string()), []
    for group in range(handle.num_row_groups):
        ids = handle.read_row_group(group, columns=["image_id"]).column("image_id")
        rows = pc.is_in(ids, value_set=kept)
        if pc.any(rows).as_py():
            found.append(handle.read_row_group(group, columns=names).filter(rows))
    whole = pa.concat_tables(found) if found else schema.empty_table().select(names)
    for name in columns or schema.names:
        if name not in names:
            whole = whole.append_column(name, pa.nulls(len(whole), schema.field(name).type))
    return whole


def read_pictures(path: Path, wanted: Collection[str], columns: Sequence[str]) -> pa.Table:
    """As :func:`read_rows`, for a file of attacked images, with their pixels wherever they lie."""
    table = read_rows(path, IMAGES, wanted, [*columns, DIGEST.name])
    return with_pixels(table, path, shard_of(path), lambda shard: read_rows(shard, SHARDS, wanted, PICTURE))


class ChosenRows:
    """The rows of chosen images in the results of an experiment.

    Args:
        wanted: dataset → ids of its chosen images.
        images: dataset → its images.
    """

    def __init__(
        self, spec: Mapping[str, Any], results: str, wanted: Mapping[str, Collection[str]], images: Mapping[str, Images]
    ) -> None:
        self._spec, self._results, self._wanted = spec, results, wanted
        self._holders = {d: set(own.shards[own.names.isin(list(wanted[d]))]) for d, own in images.items()}

    def read(self, stage: str, schema: pa.Schema, columns: Sequence[str], *, family: bool) -> pd.DataFrame:
        """Some ``columns`` of the rows in all files of a stage, with the partition columns; ``family`` as in :func:`stage_files`."""
        return pa.concat_tables(self.tables(stage, schema, columns, family=family)).to_pandas()

    def tables(self, stage: str, schema: pa.Schema, columns: Sequence[str], *, family: bool) -> Iterator[pa.Table]:
        """The same, one file at a time."""
        return self._tables(stage, lambda path, wanted: read_rows(path, schema, wanted, columns), family=family)

    def pictures(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Some ``columns`` of the attacked images, pixels among them, one file at a time."""
        return self._tables("attack", lambda path, wanted: read_pictures(path, wanted, columns), family=False)

    def _tables(
        self, stage: str, read: Callable[[Path, Collection[str]], pa.Table], *, family: bool
    ) -> Iterator[pa.Table]:
        files = stage_files(self._spec, self._results, stage, family=family)
        for place, paths in files.parts:
            dataset = place["dataset"]
            for path in (path for path in paths if path.stem in self._holders[dataset]):
                yield _placed(files, path, read(path, self._wanted[dataset]))


def _placed(files: StageFiles, path: Path, table: pa.Table) -> pa.Table:
    """``table`` with the partition columns of its file."""
    for name, value in partition_values(path).items():
        table = table.append_column(name, files.column(name, np.full(len(table), files.values[name].index(value))))
    return table


@dataclass(frozen=True)
class ClassNames:
    """Names of classes: (dataset, model) → a name per class; empty where neither dataset nor model has names."""

    names: Mapping[tuple[str, str], Sequence[str]]

    def of(self, frame: pd.DataFrame, column: str) -> list[str | None]:
        """The name of the class in ``column`` of each row; None without one."""
        lists = (self.names[str(d), str(m)] for d, m in zip(frame.dataset, frame.model, strict=True))
        return [own[c] if 0 <= c < len(own) else None for own, c in zip(lists, frame[column], strict=True)]


def class_names(spec: Mapping[str, Any], results: str) -> ClassNames:
    """The class names that attacked images carry."""
    found: dict[tuple[str, str], list[str]] = {}
    for path in cell_files(spec, results, "attack", family=False):
        place = partition_values(path)
        key = place["dataset"], place["model"]
        if key not in found:
            found[key] = read_provenance(path).get("classes", [])
    return ClassNames(found)

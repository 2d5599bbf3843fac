"""Tables that are written piece by piece, with the bytes that they have when written at once."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vitfaith.artifacts.store import growing_parquet

GROUP = 2**20
"""Rows of a row group, as Arrow writes them."""

PIECE = 2**17
"""Rows that are made at once."""


class GrowingTable:
    """A Parquet file whose rows come in their order, a data frame at a time; a context manager.

    Args:
        path: the file.
        empty: frame that is written where no rows come.
        group: most rows of a row group, which are in memory at once.
    """

    def __init__(self, path: Path, empty: pd.DataFrame, group: int = GROUP) -> None:
        self._path, self._empty, self._group = path, empty, group
        self._stack = ExitStack()
        self._writer: pq.ParquetWriter | None = None
        self._schema: pa.Schema | None = None
        self._waiting: list[pa.Table] = []

    def __enter__(self) -> GrowingTable:
        return self

    def add(self, frame: pd.DataFrame) -> None:
        """Append the rows of ``frame``, with the columns of the first frame."""
        if not len(frame):
            return
        if self._schema is None:
            self._schema = _schema(frame)
        self._waiting.append(pa.Table.from_pandas(frame, preserve_index=False).cast(self._schema))
        while sum(map(len, self._waiting)) >= self._group:
            whole = pa.concat_tables(self._waiting)
            self._write(whole.slice(0, self._group))
            self._waiting = [whole.slice(self._group)]

    def _write(self, table: pa.Table) -> None:
        if self._writer is None:
            self._writer = self._stack.enter_context(growing_parquet(self._path, table.schema))
        self._writer.write_table(table.combine_chunks(), row_group_size=self._group)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._finish()
        except BaseException:
            self._stack.__exit__(*sys.exc_info())
            raise
        self._stack.__exit__(kind, error, trace)

    def _finish(self) -> None:
        if self._schema is None:
            self._write(pa.Table.from_pandas(self._empty, preserve_index=False))
        elif rest := [table for table in self._waiting if len(table)]:
            self._write(pa.concat_tables(rest))


def _schema(frame: pd.DataFrame) -> pa.Schema:
    """The schema of ``frame``; a column without a value (clusters, names of classes) is one of texts, as later frames have."""
    lacking = [name for name, column in frame.items() if column.dtype == object and not column.notna().any()]
    named = frame.assign(**{str(name): pd.Series("", index=frame.index, dtype=object) for name in lacking})
    return pa.Table.from_pandas(named, preserve_index=False).schema


def texts(names: Sequence[str], places: NDArray[np.integer[Any]]) -> pa.Array:
    """A column of names by their places."""
    return pa.DictionaryArray.from_arrays(pa.array(places.astype(np.int32)), pa.array(names, pa.string())).cast(
        pa.string()
    )


def with_column(frame: pd.DataFrame, clusters: NDArray[np.object_] | None) -> pd.DataFrame:
    """``frame`` with the clusters (rows,) of its images; as it is where no image has one."""
    return frame if clusters is None else frame.assign(cluster=pd.Series(clusters, index=frame.index, dtype=object))


def empty_frame(columns: Mapping[str, pa.Array]) -> pd.DataFrame:
    """A frame without rows."""
    return pa.table({name: column.slice(0, 0) for name, column in columns.items()}).to_pandas()

"""Parquet files that others wrote: columns are checked by kind, rows read a batch at a time.

Memory follows the rows that are asked for, not the files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vitfaith.errors import ArtifactError, did_you_mean
from vitfaith.lazy import np, pa, pq

if TYPE_CHECKING:
    from numpy.typing import NDArray

BATCH = 64
"""Rows decoded at once; only those asked for are kept."""

KINDS: Mapping[str, tuple[str, ...]] = {
    "integers": ("is_integer",),
    "names": ("is_string", "is_large_string"),
    "bytes": ("is_binary", "is_large_binary"),
}
"""Allowed content of a column → functions of ``pyarrow.types``, one of which must be true for its type."""


def is_of(found: pa.DataType, *kinds: str) -> bool:
    """Whether a type is of one of ``kinds`` (keys of :data:`KINDS`)."""
    return any(getattr(pa.types, name)(found) for kind in kinds for name in KINDS[kind])


def schema_of(path: Path) -> pa.Schema:
    """The schema of a file; raises :class:`ArtifactError` if it is missing or is not a Parquet file."""
    if not path.is_file():
        raise ArtifactError(f"'{path}' does not exist; correct the path of the dataset")
    try:
        return pq.read_schema(path)
    except (pa.ArrowException, OSError) as error:
        raise ArtifactError(f"'{path}' is not a readable Parquet file ({error}); fetch or write it again") from error


def column_type(schema: pa.Schema, name: str, path: Path) -> pa.DataType:
    """The type of a column; raises :class:`ArtifactError` when there is none."""
    if name not in schema.names:
        raise ArtifactError(f"'{path}' has no column '{name}'{did_you_mean(name, schema.names)}; name or add it")
    return schema.field(name).type


def check_column(schema: pa.Schema, name: str, path: Path, *kinds: str) -> None:
    """Raise :class:`ArtifactError` unless the column is there and of one of the ``kinds`` (keys of :data:`KINDS`)."""
    found = column_type(schema, name, path)
    if not is_of(found, *kinds):
        raise ArtifactError(f"'{path}', column '{name}': type {found}; write {' or '.join(kinds)}")


def column_values(files: Sequence[Path], name: str, *kinds: str) -> list[Any]:
    """The values of a column in all files; missing ones, and damaged files, are an :class:`ArtifactError`."""
    values: list[Any] = []
    for path in files:
        check_column(schema_of(path), name, path, *kinds)
        try:
            table = pq.read_table(path, columns=[name], partitioning=None, page_checksum_verification=True)
        except (pa.ArrowException, OSError) as error:
            raise ArtifactError(f"'{path}' is damaged ({error}); fetch or write it again") from error
        column = table.column(name)
        if column.null_count:
            raise ArtifactError(f"'{path}', column '{name}': {column.null_count} missing values; leave those rows out")
        values += column.to_pylist()
    return values


def read_rows(paths: Sequence[Path], indices: NDArray[np.int64], columns: Sequence[str]) -> pa.Table:
    """Rows ``indices`` (in that order) of the files set end to end; row groups without any are skipped.

    Raises:
        ArtifactError: a file is damaged.
    """
    order = np.argsort(indices, kind="stable")
    wanted = np.asarray(indices)[order]
    batches: list[pa.RecordBatch] = []
    start = 0
    schema = None
    for path in paths:
        try:
            with pq.ParquetFile(path, pre_buffer=False, page_checksum_verification=True) as file:
                for group in range(file.num_row_groups):
                    stop = start + file.metadata.row_group(group).num_rows
                    low, high = np.searchsorted(wanted, (start, stop))
                    if low < high:
                        for batch in file.iter_batches(BATCH, row_groups=[group], columns=list(columns)):
                            low, high = np.searchsorted(wanted, (start, start + len(batch)))
                            if low < high:
                                batches.append(batch.take(pa.array(wanted[low:high] - start)))
                            start += len(batch)
                            if high == len(wanted):
                                break
                        schema = batches[-1].schema
                    start = stop
        except (pa.ArrowException, OSError) as error:
            raise ArtifactError(f"'{path}' is damaged ({error}); fetch or write it again") from error
    table = pa.Table.from_batches(batches, schema)
    return table.take(pa.array(np.argsort(order)))

"""Atomic Parquet writes with provenance, and readers that name the file and the column that is wrong."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from vitfaith.artifacts.schemas import OPTIONAL
from vitfaith.errors import ArtifactError

PROVENANCE_KEY = b"vitfaith"
"""Key of the JSON provenance in a Parquet file's schema metadata."""


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its place on success and is removed on failure.

    Raises:
        ArtifactError: the disk is full or the folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise ArtifactError(
                f"no space left to write '{path}'; free some and run again, finished files are kept"
            ) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def write_table(table: pa.Table, path: Path, schema: pa.Schema, provenance: Mapping[str, Any]) -> None:
    """Write ``table`` cast to ``schema`` as zstd Parquet, atomically; ``provenance`` (JSON) goes into the metadata.

    Equal tables and provenance give equal bytes. Optional columns that ``table`` lacks are written as nulls.
    """
    metadata = {PROVENANCE_KEY: json.dumps(provenance, sort_keys=True).encode()}
    ordered = _with_optional(table, schema).select(schema.names).cast(schema).replace_schema_metadata(metadata)
    with atomic_path(path) as temporary:
        pq.write_table(ordered, temporary, compression="zstd", row_group_size=4096)


def _with_optional(table: pa.Table, schema: pa.Schema) -> pa.Table:
    for field in schema:
        if field.name in OPTIONAL and field.name not in table.column_names:
            table = table.append_column(field, pa.nulls(len(table), field.type))
    return table


def _check(path: Path, found: pa.Schema, expected: pa.Schema) -> None:
    for field in expected:
        index = found.get_field_index(field.name)
        if index < 0 and field.name in OPTIONAL:
            continue
        if index < 0:
            raise ArtifactError(
                f"'{path}' has no column '{field.name}'; it was not written by this version: delete it and run again"
            )
        kind = found.field(index).type
        if not kind.equals(field.type):
            raise ArtifactError(
                f"'{path}', column '{field.name}': type {kind}, expected {field.type}; delete the file and run again"
            )


def open_parquet(path: Path, schema: pa.Schema) -> pq.ParquetFile:
    """Open a Parquet file and check its columns; raises :class:`ArtifactError` naming the file and column."""
    if not Path(path).is_file():
        raise ArtifactError(f"'{path}' does not exist; run the stage that writes it")
    try:
        handle = pq.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise ArtifactError(f"'{path}' is not a readable Parquet file ({error}); delete it and run again") from error
    _check(path, handle.schema_arrow, schema)
    return handle


def read_table(path: Path, schema: pa.Schema) -> pa.Table:
    """All rows of one file, checked against ``schema``; nulls in a required column raise :class:`ArtifactError`."""
    try:
        table = _with_optional(open_parquet(path, schema).read(columns=schema.names), schema)
    except (pa.ArrowInvalid, OSError) as error:
        raise ArtifactError(f"'{path}' is damaged ({error}); delete it and run again") from error
    for field in schema:
        if not field.nullable and table.column(field.name).null_count:
            raise ArtifactError(
                f"'{path}', column '{field.name}': {table.column(field.name).null_count} missing values"
            )
    return table


def read_provenance(path: Path) -> dict[str, Any]:
    """The provenance stored in a Parquet file (empty when there is none)."""
    metadata = pq.read_schema(path).metadata or {}
    return dict(json.loads(metadata.get(PROVENANCE_KEY, b"{}")))


def partition_values(path: Path) -> dict[str, str]:
    """The Hive partition columns in a path: ``…/attack=pgd/…`` gives ``{"attack": "pgd"}``."""
    return dict(part.split("=", 1) for part in Path(path).parts if "=" in part)


def read_dataset(paths: Sequence[Path], schema: pa.Schema) -> pa.Table:
    """Rows of many files with their partition columns appended as strings (``shard`` is no column)."""
    tables = []
    for path in paths:
        table = read_table(Path(path), schema)
        for name, value in partition_values(Path(path)).items():
            table = table.append_column(name, pa.repeat(pa.scalar(value), len(table)).dictionary_encode())
        tables.append(table)
    if not tables:
        raise ArtifactError("no files to read; the experiment names no condition")
    return pa.concat_tables(tables).unify_dictionaries()

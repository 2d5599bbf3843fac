"""Every Parquet file of the workflow is written and read here: atomically, with provenance, and so that altered bits show.

Pages carry checksums and the footer a digest of the whole file (:mod:`vitfaith.artifacts.seal`); readers check both. Files that
others wrote have no digest and are read without that check.
"""

from __future__ import annotations

import errno
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vitfaith.artifacts.seal import EMPTY, KEY, is_intact, seal
from vitfaith.errors import FULL, ArtifactError, DiskFullError
from vitfaith.lazy import pa, pc, pq

if TYPE_CHECKING:
    from pandas import DataFrame

PROVENANCE_KEY = b"vitfaith"
"""Key of the JSON provenance in a Parquet file's schema metadata."""

_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}

GROUP_BYTES, MOST_ROWS = 2**22, 4096
"""Bytes (before compression) and rows of a row group: 28 images of 224 × 224 pixels."""

PLACE = "condition"
"""Key of the provenance that holds the values of the folders that a file was written into."""


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its place on success and is removed on failure.

    The content is on the disk before it takes the name, so that a power failure leaves the old file or the whole new one.

    Raises:
        ArtifactError: the disk is full or the folder cannot be written.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            temporary.chmod(0o644)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn errors of the file system in writing ``path`` into an :class:`ArtifactError` that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise DiskFullError(
                f"no space left to write '{path}'; free some space and run again, finished files are kept"
            ) from error
        if error.errno in _FORBIDDEN:
            raise ArtifactError(
                f"'{path}' cannot be written ({os.strerror(error.errno)}); change the folder's rights"
            ) from error
        raise


def write_table(table: pa.Table, path: Path, schema: pa.Schema, provenance: Mapping[str, Any]) -> None:
    """Write ``table`` cast to ``schema`` as zstd Parquet, atomically; ``provenance`` (JSON) goes into the metadata.

    So does the condition that ``path`` names, which reveals a file that was copied over another condition's file. Equal tables, provenance and
    conditions give equal bytes. Optional columns that ``table`` lacks are written as nulls.
    """
    write_tables([table], path, schema, provenance)


def write_tables(tables: Iterable[pa.Table], path: Path, schema: pa.Schema, provenance: Mapping[str, Any]) -> None:
    """As :func:`write_table`, with the rows of ``tables`` one after the other; no row group holds rows of two of them."""
    place = place_of(path)
    facts = {**provenance, **({PLACE: place} if place else {})}
    named = schema.with_metadata({PROVENANCE_KEY: json.dumps(facts, sort_keys=True).encode()})
    ordered = (_with_optional(table, schema).select(schema.names).cast(named) for table in tables)
    _write(((table, rows_in_group(table)) for table in ordered), named, path)


def write_parquet(table: pa.Table, path: Path) -> None:
    """Write ``table`` and its schema's metadata as they are: zstd, page checksums, sealed, atomically."""
    table = _without_seal(table)
    _write([(table, None)], table.schema, path)


def _write(tables: Iterable[tuple[pa.Table, int | None]], schema: pa.Schema, path: Path) -> None:
    """Write tables, each with its number of rows in a row group."""
    with growing_parquet(path, schema) as writer:
        for table, rows in tables:
            writer.write_table(table, row_group_size=rows)


@contextmanager
def growing_parquet(path: Path, schema: pa.Schema) -> Iterator[pq.ParquetWriter]:
    """As :func:`write_parquet`, for a table that is never in memory at once: a writer of its row groups."""
    with atomic_path(path) as temporary:
        with pq.ParquetWriter(
            temporary,
            schema,
            compression="zstd",
            use_dictionary=dictionary_columns(schema),
            write_page_checksum=True,
        ) as writer:
            yield writer
            writer.add_key_value_metadata({KEY: EMPTY})
        seal(temporary)


def dictionary_columns(schema: pa.Schema) -> list[str]:
    """Columns in which equal values are stored once: not pixels, maps and other floats, whose values differ, and the dictionary adds to them."""
    different = (pa.types.is_binary, pa.types.is_floating, pa.types.is_list)
    return [field.name for field in schema if not any(is_kind(field.type) for is_kind in different)]


def rows_in_group(table: pa.Table) -> int:
    """Rows of a row group, so that it has about :data:`GROUP_BYTES`: a part of a shard is read without the rest of it."""
    size = sum(map(_content, table.columns))
    return min(MOST_ROWS, max(1, GROUP_BYTES * len(table) // max(1, size)))


def _content(column: pa.ChunkedArray) -> int:
    """Bytes of images and maps; other columns are small. Equal values count alike, however they lie in memory."""
    if pa.types.is_binary(column.type):
        return pc.sum(pc.binary_length(column)).as_py() or 0
    if pa.types.is_list(column.type):
        return 4 * (pc.sum(pc.list_value_length(column)).as_py() or 0)
    return 0


def _without_seal(table: pa.Table) -> pa.Table:
    """``table`` without the seal of the file that it was read from, which holds for that file alone."""
    metadata = dict(table.schema.metadata or {})
    metadata.pop(KEY.encode(), None)
    return table.replace_schema_metadata(metadata or None)


def _with_optional(table: pa.Table, schema: pa.Schema) -> pa.Table:
    from vitfaith.artifacts.schemas import OPTIONAL

    for field in schema:
        if field.name in OPTIONAL and field.name not in table.column_names:
            table = table.append_column(field, pa.nulls(len(table), field.type))
    return table


def _check(path: Path, found: pa.Schema, expected: pa.Schema) -> None:
    from vitfaith.artifacts.schemas import OPTIONAL

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


def open_any(path: Path) -> pq.ParquetFile:
    """Open a Parquet file of whatever columns, once its digest is found right; page checksums are checked as pages are read.

    Raises:
        ArtifactError: it is missing, no Parquet file, or was altered after it was written.
    """
    path = Path(path)
    if not path.is_file():
        raise ArtifactError(f"'{path}' does not exist; run the stage that writes it")
    if is_intact(path) is False:
        raise ArtifactError(
            f"'{path}' was altered after it was written: its digest does not match; delete it and run again"
        )
    try:
        return pq.ParquetFile(path, page_checksum_verification=True)
    except (pa.ArrowException, OSError) as error:
        raise ArtifactError(f"'{path}' is not a readable Parquet file ({error}); delete it and run again") from error


def open_parquet(path: Path, schema: pa.Schema) -> pq.ParquetFile:
    """As :func:`open_any`, for a file with the columns of ``schema``; the error names the column that is wrong."""
    handle = open_any(path)
    _check(path, handle.schema_arrow, schema)
    return handle


def read_any(path: Path) -> pa.Table:
    """All rows and columns of one file; raises :class:`ArtifactError` where it is missing or damaged."""
    try:
        return _without_seal(open_any(path).read(use_pandas_metadata=True))
    except (pa.ArrowException, OSError) as error:
        raise ArtifactError(f"'{path}' is damaged ({error}); delete it and run again") from error


def read_groups(
    file: pq.ParquetFile, groups: Sequence[int], path: Path, columns: Sequence[str] | None = None
) -> pa.Table:
    """Some row groups of ``file``, which :func:`open_any` has opened at ``path``; raises as :func:`read_any`."""
    try:
        return _without_seal(file.read_row_groups(groups, columns=columns, use_pandas_metadata=columns is None))
    except (pa.ArrowException, OSError) as error:
        raise ArtifactError(f"'{path}' is damaged ({error}); delete it and run again") from error


def read_frame(path: Path) -> DataFrame:
    """As :func:`read_any`, as a data frame."""
    return read_any(path).to_pandas()


def read_table(path: Path, schema: pa.Schema) -> pa.Table:
    """All rows of one file, checked against ``schema``; nulls in a required column raise :class:`ArtifactError`."""
    try:
        table = _with_optional(_without_seal(open_parquet(path, schema).read(columns=schema.names)), schema)
    except (pa.ArrowException, OSError) as error:
        raise ArtifactError(f"'{path}' is damaged ({error}); delete it and run again") from error
    for field in schema:
        if not field.nullable and table.column(field.name).null_count:
            raise ArtifactError(
                f"'{path}', column '{field.name}': {table.column(field.name).null_count} missing values"
            )
    return table


def row_count(path: Path) -> int:
    """Rows of a file by its footer; 1 where that cannot be read, so that reading the file says what is wrong."""
    try:
        return int(pq.read_metadata(path).num_rows)
    except (pa.ArrowException, OSError):
        return 1


def provenance_of(handle: pq.ParquetFile) -> dict[str, Any]:
    """The provenance of a file that is open."""
    return dict(json.loads((handle.schema_arrow.metadata or {}).get(PROVENANCE_KEY, b"{}")))


def read_provenance(path: Path, *, checked: bool = True) -> dict[str, Any]:
    """The provenance stored in a Parquet file (empty when there is none).

    Args:
        checked: compare the file with its digest, which reads all of it; without, a look at the footer.
    """
    schema = open_any(path).schema_arrow if checked else pq.read_schema(path)
    return dict(json.loads((schema.metadata or {}).get(PROVENANCE_KEY, b"{}")))


def place_of(path: Path) -> dict[str, str]:
    """The condition in the folders right above a file: as :func:`partition_values`, whatever folders lie further up."""
    found: dict[str, str] = {}
    for part in reversed(Path(path).parts[:-1]):
        name, separator, value = part.partition("=")
        if not separator:
            break
        found[name] = value
    return found


def partition_values(path: Path) -> dict[str, str]:
    """The Hive partition columns in a path: ``…/attack=pgd/…`` gives ``{"attack": "pgd"}``."""
    return dict(part.split("=", 1) for part in Path(path).parts if "=" in part)


def read_dataset(
    paths: Sequence[Path], schema: pa.Schema, read: Callable[[Path, pa.Schema], pa.Table] = read_table
) -> pa.Table:
    """Rows of many files with their partition columns appended as strings (``shard`` is no column)."""
    tables = []
    for path in paths:
        table = read(Path(path), schema)
        for name, value in partition_values(Path(path)).items():
            table = table.append_column(name, pa.repeat(pa.scalar(value), len(table)).dictionary_encode())
        tables.append(table)
    if not tables:
        raise ArtifactError("no files to read; the experiment names no condition")
    return pa.concat_tables(tables).unify_dictionaries()

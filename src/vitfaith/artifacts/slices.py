"""Slices of a shard's files: the rows of some images, read without the rest and written to separate files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from vitfaith.artifacts.store import open_any, open_parquet, read_groups
from vitfaith.lazy import pa, pc, pq

_ID = "image_id"


def ids_of(path: Path) -> list[str]:
    """The images of a file, each once, in their order.

    Raises:
        ArtifactError: the file is missing, altered, or has no images.
    """
    only_ids = pa.schema([pa.field(_ID, pa.string())])
    return list(dict.fromkeys(open_parquet(path, only_ids).read(columns=[_ID]).column(0).to_pylist()))


class Sliced:
    """A file from which slices are taken; its digest is compared once, when it is opened.

    Of a file whose row groups hold a few images each, a slice costs its own bytes; of a file with one row group (of older
    versions) it costs the whole file.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._file = path, open_any(path)
        self._groups = [
            set(read_groups(self._file, [group], path, [_ID]).column(0).to_pylist())
            for group in range(self._file.num_row_groups)
        ]

    def rows(self, ids: Sequence[str]) -> pa.Table:
        """The rows of images, in the order of the file."""
        wanted = set(ids)
        groups = [number for number, found in enumerate(self._groups) if not wanted.isdisjoint(found)]
        return read_groups(self._file, groups, self._path).filter(pc.field(_ID).isin(list(ids)))


def write_slices(files: Mapping[str, Sliced], ids: Sequence[str], paths: Mapping[str, Path]) -> None:
    """Write the rows of images of each file for the process itself: not compressed, not sealed, not kept after a crash."""
    for name, file in files.items():
        pq.write_table(file.rows(ids), paths[name], compression="none", use_dictionary=False)

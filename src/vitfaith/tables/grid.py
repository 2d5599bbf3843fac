"""Rows of one condition as vectors over its images: the form in which many images take little memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from vitfaith.errors import ArtifactError, InputError

Key = tuple[Any, ...]


class Grid:
    """One vector over the images for each combination of the key columns.

    Attributes:
        images: sorted names of N images.
        names: the key columns.
        keys: key → its number k < K.
        present: (K, N) bool, whether there is such a row.
        fields: column → (K, N) values; NaN (or 0 for a text's number) where there is no row.
        texts: names that the numbers of columns of texts stand for.
    """

    def __init__(self, images: pd.Index, names: Sequence[str], fields: Mapping[str, Any]) -> None:
        self.images, self.names = images, tuple(names)
        self.keys: dict[Key, int] = {}
        self.texts: dict[str, int] = {"": 0}
        self.present = np.zeros((0, len(images)), bool)
        self.fields = {name: np.zeros((0, len(images)), kind) for name, kind in fields.items()}
        self._rows = 0

    def add(self, table: pa.Table, wanted: Callable[[Key], bool] = lambda key: True) -> None:
        """Enter the rows of ``table`` (image_id, key columns and fields) whose key is ``wanted``.

        Raises:
            ArtifactError: a row is of another image.
        """
        if not len(table):
            return
        code, names = encoded(table.column("image_id"))
        image = self.images.get_indexer(pd.Index(names))
        if (image < 0).any():
            raise ArtifactError(f"there are results of image '{names[int(image.argmin())]}', which no shard holds")
        columns = [encoded(table.column(name)) for name in self.names]
        sizes = [len(values) for _, values in columns]
        combined = np.ravel_multi_index(tuple(codes for codes, _ in columns), sizes)
        slot = np.full(int(np.prod(sizes)), -1)
        for number in np.flatnonzero(np.bincount(combined)):
            places = np.unravel_index(number, sizes)
            key = tuple(values[int(place)] for place, (_, values) in zip(places, columns, strict=True))
            if wanted(key):
                slot[number] = self.keys.setdefault(key, len(self.keys))
        self._grow()
        rows = slot[combined]
        kept = rows >= 0
        flat = rows * len(self.images) + image[code]
        flat = flat if kept.all() else flat[kept]
        self.present.reshape(-1)[flat] = True
        self._rows += len(flat)
        for name, held in self.fields.items():
            values = self._numbers(table.column(name), held.dtype)
            held.reshape(-1)[flat] = values if kept.all() else values[kept]

    def check(self) -> None:
        """Raises :class:`InputError` where two rows were of one image and key."""
        if int(np.count_nonzero(self.present)) != self._rows:
            raise InputError(f"results have two rows for one image and {', '.join(self.names)}")

    def _numbers(self, column: pa.ChunkedArray, kind: np.dtype[Any]) -> NDArray[Any]:
        if not pa.types.is_string(column.type):
            return np.asarray(column.to_numpy(), kind)
        codes, names = encoded(column)
        return np.array([self.texts.setdefault(name, len(self.texts)) for name in names], kind)[codes]

    def _grow(self) -> None:
        more = len(self.keys) - len(self.present)
        if more:
            size = (more, len(self.images))
            self.present = np.concatenate([self.present, np.zeros(size, bool)])
            for name, held in self.fields.items():
                empty = np.full(size, np.nan if held.dtype.kind == "f" else 0, held.dtype)
                self.fields[name] = np.concatenate([held, empty])

    def numbers(self, **wanted: Any) -> list[tuple[Key, int]]:
        """(key, number) of the keys with these values, sorted."""
        places = {self.names.index(name): value for name, value in wanted.items()}
        found = [(k, n) for k, n in self.keys.items() if all(k[i] == value for i, value in places.items())]
        return sorted(found)

    def values(self, *names: str) -> list[Key]:
        """The values that occur in these key columns, sorted."""
        places = [self.names.index(name) for name in names]
        return sorted({tuple(key[i] for i in places) for key in self.keys})


def grid_of(rows: pd.DataFrame, names: Sequence[str], fields: Sequence[str]) -> Grid:
    """The grid of a frame with the columns image_id, ``names`` and ``fields``, which are numbers."""
    images = pd.Index(sorted(rows["image_id"].astype(str).unique()))
    grid = Grid(images, names, {name: rows[name].dtype for name in fields})
    grid.add(pa.Table.from_pandas(rows[["image_id", *names, *fields]], preserve_index=False))
    grid.check()
    return grid


def encoded(column: pa.ChunkedArray) -> tuple[NDArray[np.int64], list[Any]]:
    """Numbers (rows,) and the values that they stand for."""
    whole = column.combine_chunks()
    if isinstance(whole, pa.ChunkedArray):
        whole = pa.concat_arrays(whole.chunks) if whole.num_chunks else pa.array([], whole.type)
    if not pa.types.is_dictionary(whole.type):
        whole = whole.dictionary_encode()
    return whole.indices.to_numpy().astype(np.int64), whole.dictionary.to_pylist()

"""Vectors that are written once and read some at a time: on disk, so that memory does not grow with their number."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitfaith.artifacts.store import writing
from vitfaith.statistics.clusters import Codes


class Vectors:
    """A file without a name in ``folder``, gone when it is closed; without a folder all is in memory."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder, self._end = folder, 0
        self._held: dict[int, NDArray[Any]] = {}
        self._place: list[tuple[int, int, np.dtype[Any]]] = []
        if folder is not None:
            with writing(folder):
                folder.mkdir(parents=True, exist_ok=True)
                self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115

    def append(self, values: NDArray[Any]) -> int:
        """Write ``values`` (n,); returns the number by which they are read."""
        number = len(self._place)
        self._place.append((self._end, len(values), values.dtype))
        if self._folder is None:
            self._held[number] = values
        else:
            with writing(self._folder):
                self._file.write(np.ascontiguousarray(values).tobytes())
            self._end += values.nbytes
        return number

    def read(self, number: int) -> NDArray[Any]:
        """The values (n,) of one number."""
        if self._folder is None:
            return self._held[number]
        start, length, kind = self._place[number]
        self._file.flush()
        return np.frombuffer(os.pread(self._file.fileno(), length * kind.itemsize, start), kind)

    def close(self) -> None:
        """Give the space back."""
        self._held.clear()
        if self._folder is not None:
            self._file.close()

    def size(self, number: int) -> int:
        """Length of one vector."""
        return self._place[number][1]


class StoredSamples:
    """Groups of values for :func:`vitfaith.statistics.summary.sample_numbers`, by their numbers in ``vectors``.

    Args:
        values: number of each group's values.
        clusters: number of each group's cluster codes, None where no two images share a cluster.
    """

    def __init__(self, vectors: Vectors, values: Sequence[int], clusters: Sequence[int | None]) -> None:
        self._vectors, self._values, self._clusters = vectors, values, clusters
        self.n = np.array([vectors.size(number) for number in values], dtype=np.int64)

    def block(self, groups: NDArray[np.int64]) -> NDArray[np.float64]:
        """(n, G) float64 in column order."""
        found = np.empty((self.n[groups[0]], len(groups)), order="F")
        for column, group in enumerate(groups):
            found[:, column] = self._vectors.read(self._values[group])
        return found

    def codes(self, group: int) -> Codes | None:
        """(n,) numbers of the clusters."""
        number = self._clusters[group]
        return None if number is None else self._vectors.read(number)

"""Reading maps back as arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vitfaith.artifacts.store import open_any, read_table
from vitfaith.errors import ArtifactError


def read_maps(path: Path) -> dict[str, tuple[list[str], NDArray[np.float32]]]:
    """Method → (image ids, maps (B, rows, columns) float32) of one file of schema MAPS."""
    from vitfaith.artifacts.schemas import MAPS

    table = read_table(path, MAPS)
    found = {}
    for method in table.column("method").unique().to_pylist():
        part = table.filter(pc.equal(table.column("method"), pa.scalar(method)))
        rows, columns = part.column("rows")[0].as_py(), part.column("columns")[0].as_py()
        flat = part.column("map").combine_chunks().flatten().to_numpy(zero_copy_only=False)
        found[method] = (part.column("image_id").to_pylist(), flat.reshape(-1, rows, columns))
    return found


def read_explained(path: Path) -> dict[str, NDArray[np.int64]]:
    """Method → explained class (B,) of each image, in the order of :func:`read_maps`."""
    from vitfaith.artifacts.schemas import MAPS

    table = read_table(path, pa.schema([MAPS.field(name) for name in ("method", "target")]))
    method, target = (table.column(name).to_numpy(zero_copy_only=False) for name in ("method", "target"))
    return {name: target[method == name].astype(np.int64) for name in dict.fromkeys(method)}


def read_sample_maps(path: Path) -> dict[str, tuple[list[str], NDArray[np.float32]]]:
    """Method → (image ids, maps (B, S, rows, columns) float32 of S noise samples, not normalised) of one map file.

    Raises:
        ArtifactError: the file holds no per-sample maps, or numbers that do not fit its shapes.
    """
    from vitfaith.artifacts.schemas import SAMPLE_MAPS

    table = read_table(path, SAMPLE_MAPS)
    found = {}
    for method in table.column("method").unique().to_pylist():
        part = table.filter(pc.equal(table.column("method"), pa.scalar(method)))
        samples, rows, columns = (part.column(c)[0].as_py() for c in ("samples", "rows", "columns"))
        flat = part.column("sample_maps").combine_chunks().flatten().to_numpy(zero_copy_only=False)
        if len(flat) != len(part) * samples * rows * columns:
            raise ArtifactError(f"'{path}', column 'sample_maps': not {samples} maps of {rows} × {columns} each")
        found[method] = (part.column("image_id").to_pylist(), flat.reshape(len(part), samples, rows, columns))
    return found


def read_raw_maps(path: Path) -> dict[str, tuple[list[str], NDArray[np.float32]]] | None:
    """Method → (image ids, mean (B, rows, columns) float32 of the noise samples' maps as the explainer gave them).

    Means are in float64, so that equal samples give that very map. None for a file without samples, whose maps
    (:func:`read_maps`) are the explainer's own.
    """
    if "sample_maps" not in open_any(path).schema_arrow.names:
        return None
    return {
        method: (ids, sampled.mean(axis=1, dtype=np.float64).astype(np.float32))
        for method, (ids, sampled) in read_sample_maps(path).items()
    }

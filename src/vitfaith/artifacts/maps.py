"""Reading maps back as arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vitfaith.artifacts.store import open_any, read_table
from vitfaith.errors import ArtifactError

SAMPLES, RAW_MEAN = "sample_maps", "raw_mean"
"""Columns of maps behind a smoothing: of each noise sample, and their mean, as the explainer gave them."""


def read_maps(path: Path) -> dict[str, tuple[list[str], NDArray[np.float32]]]:
    """Method → (image ids, maps (B, rows, columns) float32) of one file of schema MAPS."""
    from vitfaith.artifacts.schemas import MAPS

    return _first(_read(path, MAPS, "map"))


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

    if SAMPLES not in open_any(path).schema_arrow.names:
        raise ArtifactError(
            f"'{path}' has no column '{SAMPLES}': maps of single noise samples are kept where the study asks for a certificate; "
            "run attribute again for a study with one"
        )
    return _read(path, SAMPLE_MAPS, SAMPLES)


def read_raw_maps(path: Path) -> dict[str, tuple[list[str], NDArray[np.float32]]] | None:
    """Method → (image ids, mean (B, rows, columns) float32 of the noise samples' maps as the explainer gave them).

    None for a file of maps without a smoothing: they (:func:`read_maps`) are the explainer's own.

    Raises:
        ArtifactError: maps behind a smoothing without their raw mean, which cannot be computed from the other columns.
    """
    from vitfaith.artifacts.schemas import RAW_MEANS

    names = open_any(path).schema_arrow.names
    if RAW_MEAN in names:
        return _first(_read(path, RAW_MEANS, RAW_MEAN))
    if SAMPLES in names:  # of earlier versions, which kept all samples
        return {method: (ids, raw_mean(sampled)) for method, (ids, sampled) in read_sample_maps(path).items()}
    if _is_smoothed(path):
        raise ArtifactError(
            f"'{path}' holds only means of scaled maps, and no column '{RAW_MEAN}', which metrics that depend on scale read; "
            "delete the file and run again"
        )
    return None


def raw_mean(sampled: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean over the samples (B, S, rows, columns) of each image, in float64, so that equal samples give that very map."""
    return np.ascontiguousarray(sampled).mean(axis=1, dtype=np.float64).astype(np.float32)


def _is_smoothed(path: Path) -> bool:
    """Whether the maps have a spread, which only a smoothing gives."""
    from vitfaith.artifacts.schemas import MAPS

    spread = read_table(path, pa.schema([MAPS.field("spread")])).column("spread")
    return bool(spread.null_count < len(spread))


def _read(path: Path, schema: pa.Schema, column: str) -> dict[str, tuple[list[str], NDArray[np.float32]]]:
    """Method → (image ids, maps (B, S, rows, columns) float32) of a column of lists; S is 1 except for the samples' maps."""
    table, found = read_table(path, schema), {}
    for method in table.column("method").unique().to_pylist():
        part = table.filter(pc.equal(table.column("method"), pa.scalar(method)))
        rows, columns = (part.column(c)[0].as_py() for c in ("rows", "columns"))
        samples = part.column("samples")[0].as_py() if column == SAMPLES else 1
        flat = part.column(column).combine_chunks().flatten().to_numpy(zero_copy_only=False)
        if len(flat) != len(part) * samples * rows * columns:
            raise ArtifactError(f"'{path}', column '{column}': not {samples} maps of {rows} × {columns} each")
        found[method] = (part.column("image_id").to_pylist(), flat.reshape(len(part), samples, rows, columns))
    return found


def _first(found: dict[str, tuple[list[str], NDArray[np.float32]]]) -> dict[str, tuple[list[str], NDArray[np.float32]]]:
    """The map (B, rows, columns) of each image in stacks of one."""
    return {method: (ids, maps[:, 0]) for method, (ids, maps) in found.items()}

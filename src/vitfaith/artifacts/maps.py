"""Reading maps back as arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vitfaith.artifacts.schemas import MAPS
from vitfaith.artifacts.store import read_table


def read_maps(path: Path) -> dict[str, tuple[list[str], NDArray[np.float32]]]:
    """Method → (image ids, maps (B, rows, columns) float32) of one file of schema MAPS."""
    table = read_table(path, MAPS)
    found = {}
    for method in table.column("method").unique().to_pylist():
        part = table.filter(pc.equal(table.column("method"), pa.scalar(method)))
        rows, columns = part.column("rows")[0].as_py(), part.column("columns")[0].as_py()
        flat = part.column("map").combine_chunks().flatten().to_numpy(zero_copy_only=False)
        found[method] = (part.column("image_id").to_pylist(), flat.reshape(-1, rows, columns))
    return found

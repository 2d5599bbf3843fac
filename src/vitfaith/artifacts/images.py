"""Image columns: between arrays (B, C, H, W) and the (channels, height, width, pixels) columns of the schemas."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vitfaith.errors import ArtifactError


def encode_images(images: NDArray[Any]) -> dict[str, pa.Array]:
    """Columns for ``images`` (N, C, H, W) of any dtype; pixels are the raw bytes, channel-first."""
    count, channels, height, width = images.shape
    contiguous = np.ascontiguousarray(images)
    return {
        "channels": pa.array(np.full(count, channels, np.int16)),
        "height": pa.array(np.full(count, height, np.int16)),
        "width": pa.array(np.full(count, width, np.int16)),
        "pixels": pa.array([row.tobytes() for row in contiguous], pa.binary()),
    }


def decode_images(table: pa.Table, dtype: type[np.generic], where: str) -> NDArray[Any]:
    """The array (N, C, H, W) of ``dtype`` from a table's image columns; ``where`` names the file in errors."""
    shapes = {tuple(table.column(c).unique().to_pylist()) for c in ("channels", "height", "width")}
    if any(len(s) != 1 for s in shapes):
        raise ArtifactError(
            f"'{where}': images of several sizes in one shard; set a preprocessing size for the dataset"
        )
    channels, height, width = (int(table.column(c)[0].as_py()) for c in ("channels", "height", "width"))
    size = channels * height * width * np.dtype(dtype).itemsize
    pixels = table.column("pixels").to_pylist()
    wrong = next((i for i, p in enumerate(pixels) if len(p) != size), None)
    if wrong is not None:
        name = table.column("image_id")[wrong].as_py()
        raise ArtifactError(f"'{where}', column 'pixels': image {name} has {len(pixels[wrong])} bytes, expected {size}")
    return np.frombuffer(b"".join(pixels), dtype).reshape(-1, channels, height, width)

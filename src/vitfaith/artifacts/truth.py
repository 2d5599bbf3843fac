"""Segmentations of the scored images, from the shard that they came in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitfaith.artifacts.images import IGNORED, decode_truth
from vitfaith.artifacts.store import open_parquet
from vitfaith.errors import ArtifactError

COLUMNS = ("image_id", "height", "width", "truth")


def read_truth(path: Path, image_ids: Sequence[str]) -> NDArray[np.int8]:
    """Segmentations (B, H, W) of ``image_ids``: 1 object, 0 background, −1 ignored, as everywhere in an image without one.

    Raises:
        ArtifactError: the shard lacks one of the images, or a segmentation does not fit its image.
    """
    from vitfaith.artifacts.schemas import SHARDS

    handle = open_parquet(path, SHARDS)
    table = handle.read(columns=[name for name in COLUMNS if name in handle.schema_arrow.names])
    place = {image: row for row, image in enumerate(table.column("image_id").to_pylist())}
    missing = [image for image in image_ids if image not in place]
    if missing:
        raise ArtifactError(f"'{path}' lacks the image '{missing[0]}'; delete the file and run again")
    table = table.take([place[image] for image in image_ids])
    found: NDArray[Any] | None = decode_truth(table, str(path))
    if found is None:
        height, width = (int(table.column(name)[0].as_py()) for name in ("height", "width"))
        return np.full((len(image_ids), height, width), IGNORED, np.int8)
    return found.copy()

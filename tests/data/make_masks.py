"""Write fashion_mnist_masks.parquet: eight embedded images with the mask of what is brighter than the background, by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from vitfaith.artifacts.images import encode_images, encode_truth
from vitfaith.artifacts.schemas import SHARDS
from vitfaith.artifacts.store import write_table
from vitfaith.datasets.parquet import ParquetParameters, parquet

HERE = Path(__file__).parent
EMBEDDED = HERE.parents[1] / "resources" / "data" / "fashion_mnist.parquet"
BACKGROUND = 12


def main() -> None:
    """Take the first eight images."""
    source = parquet(ParquetParameters(path=EMBEDDED))
    chosen = np.arange(8)
    pixels = source.read(chosen)
    columns = {
        "image_id": [source.image_ids[i] for i in chosen],
        "label": pa.array(source.labels[chosen], pa.int32()),
        **encode_images(pixels),
        **encode_truth(list(pixels[:, 0] > BACKGROUND)),
    }
    write_table(pa.table(columns), HERE / "fashion_mnist_masks.parquet", SHARDS, {})


if __name__ == "__main__":
    main()

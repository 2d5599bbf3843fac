"""Dataset readers that need no configuration beyond a path: Fashion-MNIST's IDX files and a Parquet file of images."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from vitfaith.artifacts.images import decode_images
from vitfaith.artifacts.schemas import SHARDS
from vitfaith.artifacts.store import open_parquet, read_table
from vitfaith.errors import ArtifactError
from vitfaith.registry import Parameters
from vitfaith.shard.idx import read_fashion_mnist
from vitfaith.shard.registry import DATASETS, Source


class FashionMnistParameters(Parameters):
    """Where the IDX files are and which split is read."""

    split: Literal["train", "test"] = Field("test", description="60,000 training or 10,000 test images")
    folder: Path | None = Field(
        None, description="folder with the four IDX files; without it the Debian package's folder, then a download"
    )


@DATASETS.register(
    "fashion_mnist", parameters=FashionMnistParameters, citation="Xiao, Rasul & Vollgraf 2017, arXiv 1708.07747"
)
def fashion_mnist(parameters: FashionMnistParameters) -> Source:
    """Fashion-MNIST from IDX files: grey 28 × 28 images in 10 classes."""
    images, labels = read_fashion_mnist(parameters.split, parameters.folder)
    ids = [f"{parameters.split}-{i:05d}" for i in range(len(labels))]

    def read(indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        return images[indices]

    return Source(ids, labels, read)


class ParquetParameters(Parameters):
    """A Parquet file of images."""

    path: Path = Field(description="file with columns image_id, label, channels, height, width, pixels (uint8, CHW)")


@DATASETS.register("parquet", parameters=ParquetParameters)
def parquet(parameters: ParquetParameters) -> Source:
    """Images from one Parquet file with the columns of a shard (raw uint8 pixels, channel-first)."""
    index = open_parquet(parameters.path, SHARDS).read(columns=["image_id", "label"])
    ids = index.column("image_id").to_pylist()
    if len(set(ids)) != len(ids):
        duplicate = next(i for n, i in enumerate(ids) if i in ids[:n])
        raise ArtifactError(f"'{parameters.path}', column 'image_id': '{duplicate}' stands twice; ids must be unique")

    def read(indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        rows = read_table(parameters.path, SHARDS).take(indices)
        return decode_images(rows, np.uint8, str(parameters.path))

    return Source(ids, index.column("label").to_numpy().astype(np.int64), read)

"""Parquet files of images: raw pixels as in our shards, or encoded pictures as Hugging Face's datasets have them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from vitfaith.artifacts.images import decode_images, decode_truth
from vitfaith.artifacts.schemas import OPTIONAL, SHARDS
from vitfaith.artifacts.store import open_parquet
from vitfaith.errors import ArtifactError
from vitfaith.registry import Parameters
from vitfaith.shard.class_lists import check_labels, check_unique
from vitfaith.shard.registry import DATASETS, UNLABELLED, Source
from vitfaith.shard.row_groups import read_rows


class ParquetParameters(Parameters):
    """A Parquet file of images."""

    path: Path = Field(description="file with columns image_id, label, channels, height, width, pixels (uint8, CHW)")


@DATASETS.register("parquet", parameters=ParquetParameters)
def parquet(parameters: ParquetParameters) -> Source:
    """Images from one Parquet file with the columns of a shard (raw uint8 pixels, channel-first)."""
    path = parameters.path
    handle = open_parquet(path, SHARDS)
    index = handle.read(columns=["image_id", "label"])
    ids = index.column("image_id").to_pylist()
    check_unique(ids, f"'{path}', column 'image_id'")
    labels = index.column("label").to_numpy().astype(np.int64)
    check_labels(labels[labels != UNLABELLED], None, f"'{path}', column 'label'")
    has_truth = next(iter(OPTIONAL)) in handle.schema_arrow.names
    shape = ["image_id", "channels", "height", "width"]

    def rows(indices: NDArray[np.int64], column: str) -> pa.Table:
        table = read_rows([path], indices, [*shape, column])
        nulls = {
            f.name: table.column(f.name).null_count for f in SHARDS if not f.nullable and f.name in table.column_names
        }
        for name, count in nulls.items():
            if count:
                raise ArtifactError(f"'{path}', column '{name}': {count} missing values; write every image in full")
        return table

    def read(indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        return decode_images(rows(indices, "pixels"), np.uint8, str(path))

    def masks(indices: NDArray[np.int64]) -> list[NDArray[np.int8] | None]:
        table = rows(indices, "truth")
        truth = decode_truth(table, str(path))
        if truth is None:
            return [None] * len(indices)
        absent = table.column("truth").is_null().to_pylist()
        return [None if gone else mask for gone, mask in zip(absent, truth, strict=True)]

    return Source(ids, labels, read, masks if has_truth else None)

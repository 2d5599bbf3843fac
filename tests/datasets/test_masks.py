"""Segmentations on their way through a shard: written beside the images, read back, absent in older files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vitfaith.artifacts.images import decode_truth, encode_images, encode_truth
from vitfaith.artifacts.schemas import SHARDS
from vitfaith.artifacts.store import read_provenance, read_table, write_table
from vitfaith.datasets.registry import DATASETS, Source
from vitfaith.errors import ArtifactError
from vitfaith.registry import Parameters
from vitfaith.stages.shard import run_shard

IMAGES = np.arange(3 * 2 * 2, dtype=np.uint8).reshape(3, 1, 2, 2)
MASKS = [np.array([[1, 0], [-1, 1]]), None, np.array([[True, False], [False, False]])]


def table(**columns: pa.Array) -> pa.Table:
    return pa.table(
        {"image_id": ["a", "b", "c"], "label": pa.array([0, 1, 0], pa.int32()), **encode_images(IMAGES), **columns}
    )


def test_masks_and_their_absence_survive_the_file(tmp_path: Path) -> None:
    write_table(table(**encode_truth(MASKS)), tmp_path / "a.parquet", SHARDS, {})
    truth = decode_truth(read_table(tmp_path / "a.parquet", SHARDS), "a")
    assert truth is not None
    assert truth.dtype == np.int8
    assert truth.tolist() == [[[1, 0], [-1, 1]], [[-1, -1], [-1, -1]], [[1, 0], [0, 0]]]


def test_files_without_the_column_are_read_as_before(tmp_path: Path) -> None:
    pq.write_table(table(), tmp_path / "old.parquet")
    write_table(table(), tmp_path / "new.parquet", SHARDS, {})
    for name in ("old", "new"):
        read = read_table(tmp_path / f"{name}.parquet", SHARDS)
        assert read.schema.names == SHARDS.names
        assert decode_truth(read, name) is None


def test_masks_of_another_size_or_value_are_named() -> None:
    with pytest.raises(ArtifactError, match=r"'here', column 'truth': the mask of image c has 9 bytes, its image 4 p"):
        decode_truth(table(**encode_truth([None, None, np.zeros((3, 3))])), "here")
    with pytest.raises(ArtifactError, match="bytes other than 0, 1 and 255"):
        decode_truth(table(**encode_truth([np.full((2, 2), 7)] * 3)), "here")


def test_the_shard_stage_writes_masks_and_class_names(tmp_path: Path) -> None:
    @DATASETS.register("test_masks", parameters=Parameters)
    def reader(parameters: Parameters) -> Source:
        return Source(
            ["a", "b", "c"], np.array([0, 1, 0]), lambda i: IMAGES[i], lambda i: [MASKS[k] for k in i], ["cat", "dog"]
        )

    spec = {"seed": 0, "reader": {"use": "test_masks"}, "images": None, "shard_size": 2, "shard": "shard-001"}
    try:
        run_shard(spec, "", tmp_path / "out.parquet")
    finally:
        del DATASETS._entries["test_masks"]
    read = read_table(tmp_path / "out.parquet", SHARDS)
    assert read.column("image_id").to_pylist() == ["c"]
    truth = decode_truth(read, "out")
    assert truth is not None
    assert truth.tolist() == [[[1, 0], [0, 0]]]
    assert read_provenance(tmp_path / "out.parquet")["classes"] == ["cat", "dog"]

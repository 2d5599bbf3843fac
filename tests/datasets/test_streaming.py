"""Reading goes a shard at a time: listing decodes nothing, and memory does not follow the size of the dataset."""

from __future__ import annotations

import gzip
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.datasets.files import CASES, NONE, devkit, gtsegs, png, tar, write
from tests.datasets.test_idx import idx_bytes
from tests.datasets.test_readers import opened
from vitfaith.artifacts.images import encode_images
from vitfaith.datasets.files import pictures
from vitfaith.stages.shard import run_shard
from vitfaith.study.load import instance

SIDE = 64
SHARD = 4
IMAGE_BYTES = 3 * SIDE * SIDE


def noise(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, SIDE, SIDE, 3), dtype=np.uint8)


def folder(root: Path, count: int) -> tuple[str, dict[str, Any]]:
    for i, picture in enumerate(noise(count)):
        write(root / "ab"[i % 2] / f"{i}.png", png(picture))
    return "image_folder", {"folder": str(root), **NONE}


def archive(root: Path, count: int) -> tuple[str, dict[str, Any]]:
    tar(root / "val.tar", {f"ILSVRC2012_val_{i + 1:08d}.JPEG": png(p) for i, p in enumerate(noise(count))}, "w")
    tar(root / "kit.tar.gz", devkit(root, "1\n" * count), "w:gz")
    return "imagenet", {"path": str(root / "val.tar"), "devkit": str(root / "kit.tar.gz"), **NONE}


def encoded(root: Path, count: int) -> tuple[str, dict[str, Any]]:
    table = pa.table({"image": [{"bytes": png(p)} for p in noise(count)], "label": [0] * count})
    pq.write_table(table, root / "a.parquet", row_group_size=16)
    return "hugging_face", {"path": str(root), **NONE}


def raw(root: Path, count: int) -> tuple[str, dict[str, Any]]:
    columns = {"image_id": [str(i) for i in range(count)], "label": pa.array([0] * count, pa.int32())}
    images = encode_images(noise(count).transpose(0, 3, 1, 2))
    pq.write_table(pa.table({**columns, **images}), root / "a.parquet", row_group_size=16)
    return "parquet", {"path": str(root / "a.parquet")}


def idx(root: Path, count: int) -> tuple[str, dict[str, Any]]:
    write(root / "t10k-images-idx4-ubyte.gz", gzip.compress(idx_bytes(noise(count).transpose(0, 3, 1, 2)), 1))
    write(root / "t10k-labels-idx1-ubyte", idx_bytes(np.zeros(count, np.uint8)))
    return "mnist", {"folder": str(root), "channels": "rgb"}


def matlab(root: Path, count: int) -> tuple[str, dict[str, Any]]:
    gtsegs(root, noise(count), np.ones((count, SIDE, SIDE), np.int64))
    return "imagenet_segmentation", {"path": str(root / "gtsegs_ijcv.mat"), **NONE}


def peak(files: Callable[[Path, int], tuple[str, dict[str, Any]]], root: Path, count: int) -> int:
    """Most bytes that a shard job holds, Python's, NumPy's and Arrow's together."""
    root.mkdir()
    reader, settings = files(root, count)
    spec = {
        "reader": instance("datasets", "d", {"reader": reader, **settings}).spec(),
        "seed": 0,
        "images": None,
        "shard_size": SHARD,
        "shard": "shard-002",
    }
    ours = pa.default_memory_pool()
    pool = pa.proxy_memory_pool(ours)
    pa.set_memory_pool(pool)
    tracemalloc.start()
    try:
        run_shard(spec, "", root / "out.parquet")
        return tracemalloc.get_traced_memory()[1] + pool.max_memory()
    finally:
        tracemalloc.stop()
        pa.set_memory_pool(ours)


@pytest.mark.parametrize("files", [folder, archive, encoded, raw, idx, matlab], ids=lambda f: f.__name__)
def test_memory_of_a_shard_job_is_flat_in_the_size_of_the_dataset(files: Any, tmp_path: Path) -> None:
    peak(files, tmp_path / "warm", SHARD * 3)  # imports and caches
    small, large = (peak(files, tmp_path / str(n), n) for n in (40, 240))
    grown = (large - small) / (200 * IMAGE_BYTES)
    print(
        f"{files.__name__}: {small / 2**20:.2f} MiB at 40 images, {large / 2**20:.2f} MiB at 240: {grown:.3f} of the data"
    )
    assert grown < 0.1  # ids, labels and headers; a reader that holds the images grows by 1


@pytest.mark.parametrize(
    "name", ["image_folder", "csv", "imagenet_tar", "imagenet_flat", "hugging_face", "coco", "cityscapes"]
)
def test_listing_decodes_nothing_and_reading_only_what_is_asked_for(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[str] = []
    load = pictures._load
    monkeypatch.setattr(pictures, "_load", lambda picture, where: (decoded.append(where), load(picture, where))[1])
    reader, files = CASES[name]
    source = opened(reader, files(tmp_path).settings)
    assert decoded == []
    source.read(np.array([2, 0]))
    assert len(decoded) == 2
    if source.masks is not None:
        source.masks(np.array([1]))
        assert len(decoded) <= 3  # the mask, and of its image the header alone

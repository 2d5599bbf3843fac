"""IDX files: a real round trip and five ways to be broken."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from vitfaith.datasets.files.idx import read_idx
from vitfaith.datasets.opening import read_all, training_set
from vitfaith.datasets.subset import stratified_subset
from vitfaith.errors import ArtifactError


def idx_bytes(array: np.ndarray) -> bytes:
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def folder_with(tmp_path: Path, images: int = 6, labels: int = 6) -> Path:
    rng = np.random.default_rng(0)
    for stem in ("train", "t10k"):
        pixels = rng.integers(0, 255, (images, 28, 28), dtype=np.uint8)
        (tmp_path / f"{stem}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx_bytes(pixels)))
        (tmp_path / f"{stem}-labels-idx1-ubyte.gz").write_bytes(
            gzip.compress(idx_bytes(np.arange(labels, dtype=np.uint8)))
        )
    return tmp_path


def test_reads_plain_and_gzipped(tmp_path: Path) -> None:
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    (tmp_path / "a").write_bytes(idx_bytes(array))
    (tmp_path / "a.gz").write_bytes(gzip.compress(idx_bytes(array)))
    assert np.array_equal(read_idx(tmp_path / "a"), array)
    assert np.array_equal(read_idx(tmp_path / "a.gz"), array)


def read_fashion_mnist(folder: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    return read_all({"use": "fashion_mnist", "split": "test", "folder": str(folder)})


def test_reads_a_fashion_mnist_folder(tmp_path: Path) -> None:
    images, labels = read_fashion_mnist(folder_with(tmp_path))
    assert images.shape == (6, 1, 28, 28)
    assert labels.tolist() == [0, 1, 2, 3, 4, 5]


def test_a_training_reads_the_subset_that_shards_would_hold(tmp_path: Path) -> None:
    entry = {"use": "fashion_mnist", "split": "train", "folder": str(folder_with(tmp_path))}
    spec = {"train_on": entry, "test_on": entry, "subset": {"train_on": {"images": 4, "seed": 3}}}
    images, labels = training_set(spec, "train_on")
    chosen = stratified_subset(np.arange(6), 4, 3)
    whole, _ = read_all(entry)
    assert len(chosen) == 4
    assert labels.tolist() == chosen.tolist()
    assert np.array_equal(images, whole[chosen])
    assert np.array_equal(training_set(spec, "test_on")[0], whole)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not an IDX file"),
        (b"\x89PNG....", "not an IDX file"),
        (b"\0\0\x08\x03\0\0", "cut off inside its header"),
        (idx_bytes(np.zeros((3, 4), np.uint8))[:-5], "holds 7 bytes, its header says 12"),
        (b"\0\0\x0d\x01\0\0\0\x01....", "not an IDX file of unsigned bytes"),
    ],
)
def test_broken_files_are_named(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "broken").write_bytes(content)
    with pytest.raises(ArtifactError, match=message):
        read_idx(tmp_path / "broken")


def test_truncated_gzip_and_missing_folder(tmp_path: Path) -> None:
    good = gzip.compress(idx_bytes(np.zeros((100, 100), np.uint8)))
    (tmp_path / "broken.gz").write_bytes(good[:-10])
    with pytest.raises(ArtifactError, match="cannot be read"):
        read_idx(tmp_path / "broken.gz")
    with pytest.raises(ArtifactError, match="no Fashion-MNIST IDX files"):
        read_fashion_mnist(tmp_path)


def test_other_numbers_of_labels_and_images(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="6 images but 5 labels"):
        read_fashion_mnist(folder_with(tmp_path, labels=5))

"""Atomic writes, checked reads, provenance, partitions."""

from __future__ import annotations

import errno
import os
import resource
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from vitfaith.artifacts.images import decode_images, encode_images
from vitfaith.artifacts.schemas import SCORES, SHARDS
from vitfaith.artifacts.store import (
    atomic_path,
    read_dataset,
    read_provenance,
    read_table,
    write_table,
)
from vitfaith.artifacts.weights import write_weights
from vitfaith.errors import ArtifactError


def scores(method: str = "random", value: float = 0.5) -> pa.Table:
    return pa.table(
        {"image_id": ["a"], "method": [method], "metric": ["saco"], "variant": [""], "value": [value], "flag": [""]}
    )


def test_round_trip_provenance_and_equal_bytes(tmp_path: Path) -> None:
    first, second = tmp_path / "x" / "a.parquet", tmp_path / "b.parquet"
    for path in (first, second):
        write_table(scores(), path, SCORES, {"seed": 1})
    assert read_table(first, SCORES).to_pylist() == scores().to_pylist()
    assert read_provenance(first) == {"seed": 1}
    assert first.read_bytes() == second.read_bytes()


def test_failed_write_leaves_nothing_and_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write_table(scores(value=1.0), path, SCORES, {})

    def write_half() -> None:
        with atomic_path(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_half()
    assert read_table(path, SCORES).column("value").to_pylist() == [1.0]
    assert [p.name for p in tmp_path.iterdir()] == ["a.parquet"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_full_disk_is_said_plainly(tmp_path: Path, code: int) -> None:
    with pytest.raises(ArtifactError, match=r"no space left to write .*free some"), atomic_path(tmp_path / "a"):
        raise OSError(code, os.strerror(code))


@pytest.mark.parametrize("step", ["pathlib.Path.mkdir", "tempfile.mkstemp", "os.fsync", "pathlib.Path.replace"])
def test_full_disk_is_said_plainly_at_every_step(tmp_path: Path, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    path.write_text("old")

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(step, full)
    with pytest.raises(ArtifactError, match="no space left to write"), atomic_path(path) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_a_folder_without_rights_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr("tempfile.mkstemp", forbidden)
    with pytest.raises(ArtifactError, match=r"a' cannot be written \(Read-only"), atomic_path(tmp_path / "a"):
        pass


def test_the_content_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, synced = tmp_path / "a", []
    monkeypatch.setattr("os.fsync", lambda descriptor: synced.append((os.fstat(descriptor).st_size, path.exists())))
    with atomic_path(path) as temporary:
        temporary.write_text("content")
    assert synced == [(7, False)]


def test_weights_without_room_leave_the_old_file(tmp_path: Path) -> None:
    """The library's own writing to a file raises an error of its own, whose number is lost."""
    path = tmp_path / "w.safetensors"
    write_weights({"x": torch.zeros(4)}, path, {"a": "b"})
    before, limits = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(ArtifactError, match="no space left to write"):
            write_weights({"x": torch.ones(5000)}, path, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    assert torch.equal(load_file(path)["x"], torch.zeros(4))
    assert [p.name for p in tmp_path.iterdir()] == ["w.safetensors"]


def test_missing_damaged_and_foreign_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    with pytest.raises(ArtifactError, match=r"a\.parquet' does not exist"):
        read_table(path, SCORES)
    path.write_bytes(b"PAR1 not really")
    with pytest.raises(ArtifactError, match="not a readable Parquet file"):
        read_table(path, SCORES)
    pq.write_table(scores().drop_columns(["value"]), path)
    with pytest.raises(ArtifactError, match="no column 'value'"):
        read_table(path, SCORES)
    pq.write_table(scores().set_column(4, "value", pa.array(["high"])), path)
    with pytest.raises(ArtifactError, match=r"column 'value': type string, expected double"):
        read_table(path, SCORES)


def test_cut_off_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write_table(scores(), path, SCORES, {})
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ArtifactError, match=r"a\.parquet"):
        read_table(path, SCORES)


def test_partitions_become_columns_for_us_and_for_pandas(tmp_path: Path) -> None:
    for attack in ("clean", "pgd"):
        write_table(scores(), tmp_path / "scores" / f"attack={attack}" / "shard-000.parquet", SCORES, {})
    paths = sorted((tmp_path / "scores").rglob("*.parquet"))
    assert read_dataset(paths, SCORES).to_pandas().attack.tolist() == ["clean", "pgd"]
    assert sorted(pd.read_parquet(tmp_path / "scores").attack) == ["clean", "pgd"]


@pytest.mark.parametrize("dtype", [np.uint8, np.float16])
def test_images_round_trip(dtype: type) -> None:
    images: np.ndarray = (np.random.default_rng(0).random((3, 2, 4, 5)) * 200).astype(dtype)
    table = pa.table({"image_id": ["a", "b", "c"], **encode_images(images)})
    assert np.array_equal(decode_images(table, dtype, "here"), images)


def test_wrong_pixel_count_names_file_and_image() -> None:
    columns = encode_images(np.zeros((2, 1, 3, 3), np.uint8))
    columns["pixels"] = pa.array([bytes(9), bytes(8)], pa.binary())
    with pytest.raises(ArtifactError, match=r"'here', column 'pixels': image b has 8 bytes, expected 9"):
        decode_images(pa.table({"image_id": ["a", "b"], **columns}), np.uint8, "here")


def test_null_in_a_required_column_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    table = pa.table(
        {
            "image_id": ["a", None],
            "label": pa.array([1, 2], pa.int32()),
            **encode_images(np.zeros((2, 1, 2, 2), np.uint8)),
        }
    )
    pq.write_table(table, path)
    with pytest.raises(ArtifactError, match="column 'image_id': 1 missing"):
        read_table(path, SHARDS)

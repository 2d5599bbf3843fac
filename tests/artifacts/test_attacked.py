"""Images that no attack changed are read from their shard, and from no other."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from vitfaith.artifacts.attacked import read_images, shard_of
from vitfaith.artifacts.images import decode_images, encode_images, image_digest
from vitfaith.artifacts.schemas import DIGEST, IMAGES, SHARDS
from vitfaith.artifacts.slices import Sliced, write_slices
from vitfaith.artifacts.store import read_table, write_table
from vitfaith.errors import ArtifactError

IDS = [f"image-{i}" for i in range(5)]
SIDE = 8


@pytest.fixture
def pixels() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (5, 3, SIDE, SIDE), dtype=np.uint8)


def write_shard(path: Path, pixels: NDArray[np.uint8], ids: list[str] = IDS) -> Path:
    labels = pa.array([0] * len(ids), pa.int32())
    write_table(pa.table({"image_id": ids, "label": labels, **encode_images(pixels)}), path, SHARDS, {})
    return path


def write_images(path: Path, pixels: NDArray[np.uint8], refers: bool = True, own: Any = None) -> Path:
    """A file of the attack ``clean``: as it is written, or as earlier versions wrote it, with pixels."""
    zeros = {name: np.zeros(len(pixels)) for name in ("label", "target", "prediction", "linf", "l2")}
    columns = {"image_id": IDS[: len(pixels)], "success": [False] * len(pixels), **zeros, **encode_images(pixels)}
    if refers:
        columns["pixels"] = pa.nulls(len(pixels), pa.binary()) if own is None else own
        columns["digest"] = [image_digest(one.shape, one.tobytes()) for one in pixels]
    schema = IMAGES if refers else IMAGES.remove(IMAGES.get_field_index(DIGEST.name))
    write_table(pa.table(columns), path, schema, {})
    return path


def test_pixels_come_from_the_shard(tmp_path: Path, pixels: NDArray[np.uint8]) -> None:
    shard, images = write_shard(tmp_path / "s.parquet", pixels), write_images(tmp_path / "a.parquet", pixels)
    found = read_images(images, shard)
    assert found.column_names == IMAGES.names
    np.testing.assert_array_equal(decode_images(found, np.uint8, ""), pixels)
    assert found.drop_columns("pixels").equals(read_table(images, IMAGES).drop_columns("pixels"))


def test_a_file_of_an_earlier_version_holds_its_own(tmp_path: Path, pixels: NDArray[np.uint8]) -> None:
    """Whatever shard is named: of a study that was run again by times alone, or none."""
    images = write_images(tmp_path / "a.parquet", pixels, refers=False)
    other = write_shard(tmp_path / "s.parquet", 255 - pixels)
    for shard in (None, other):
        np.testing.assert_array_equal(decode_images(read_images(images, shard), np.uint8, ""), pixels)


def test_slices_of_a_file_and_its_shard_fit(tmp_path: Path) -> None:
    """The row groups of a shard hold few images, the file that refers to it has one."""
    pixels = np.random.default_rng(1).integers(0, 256, (5, 3, 1024, 1024), dtype=np.uint8)
    shard, images = write_shard(tmp_path / "s.parquet", pixels), write_images(tmp_path / "a.parquet", pixels)
    files = {"images": Sliced(images), "pixels": Sliced(shard)}
    for part in (IDS[:2], IDS[2:4], IDS[4:]):
        cut = {name: tmp_path / f"{name}.slice" for name in files}
        write_slices(files, part, cut)
        found = read_images(cut["images"], cut["pixels"])
        assert found.column("image_id").to_pylist() == part
        start = IDS.index(part[0])
        np.testing.assert_array_equal(decode_images(found, np.uint8, ""), pixels[start : start + len(part)])


def test_the_shard_must_be_named(tmp_path: Path, pixels: NDArray[np.uint8]) -> None:
    images = write_images(tmp_path / "a.parquet", pixels)
    with pytest.raises(
        ArtifactError, match=r"a\.parquet' holds no pixels, which lie in its shard; name .* by --pixels"
    ):
        read_images(images)
    with pytest.raises(ArtifactError, match=r"s\.parquet' does not exist; run the stage that writes it"):
        read_images(images, tmp_path / "s.parquet")


@pytest.mark.parametrize("case", ["one pixel", "shape", "order", "more", "fewer"])
def test_another_shard_is_refused(case: str, tmp_path: Path, pixels: NDArray[np.uint8]) -> None:
    changed, ids = pixels.copy(), list(IDS)
    if case == "one pixel":
        changed[3, 1, 2, 3] ^= 1
    elif case == "shape":
        changed = changed.reshape(5, 3, SIDE // 2, SIDE * 2)
    elif case == "order":
        changed, ids = changed[::-1], ids[::-1]
    elif case == "more":
        changed, ids = np.concatenate([changed, changed[:1]]), [*ids, "image-5"]
    else:
        changed, ids = changed[:4], ids[:4]
    shard = write_shard(tmp_path / "s.parquet", changed, ids)
    images = write_images(tmp_path / "a.parquet", pixels)
    first = {
        "one pixel": ", first image 'image-3'",
        "shape": ", first image 'image-0'",
        "fewer": ", first image 'image-4'",
    }
    with pytest.raises(
        ArtifactError, match=re.escape(f"holds other images than '{images}' refers to") + first.get(case, "")
    ):
        read_images(images, shard)


def test_a_file_with_some_pixels_is_damaged(tmp_path: Path, pixels: NDArray[np.uint8]) -> None:
    some = pa.array([None, *(one.tobytes() for one in pixels[1:])], pa.binary())
    images = write_images(tmp_path / "a.parquet", pixels, own=some)
    with pytest.raises(ArtifactError, match="column 'pixels': 1 missing values"):
        read_images(images, write_shard(tmp_path / "s.parquet", pixels))


def test_no_images_need_no_shard(tmp_path: Path, pixels: NDArray[np.uint8]) -> None:
    assert len(read_images(write_images(tmp_path / "a.parquet", pixels[:0]))) == 0


@pytest.mark.parametrize("results", ["results", "/some/where=here/results", "."])
def test_the_shard_of_a_file_lies_in_the_same_results(results: str) -> None:
    path = Path(results, "attack", "dataset=d", "model=m", "attack=clean", "shard-003.parquet")
    assert shard_of(path) == Path(results, "shard", "dataset=d", "shard-003.parquet")

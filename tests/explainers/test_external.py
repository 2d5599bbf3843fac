"""Maps that the user brings: both file formats, every kind of bad file, and the laws."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from torch import Tensor

from tests.conftest import tiny_vit
from vitfaith.errors import ArtifactError, ConfigError
from vitfaith.explainers.external import ExternalParameters, external
from vitfaith.explainers.passes.context import Context
from vitfaith.models.classifier import Classifier

GENERATOR = np.random.default_rng(0)


@pytest.fixture
def context(vit: Classifier, images: Tensor, targets: Tensor, image_ids: list[str]) -> Context:
    return Context(vit, images, targets, image_ids)


def read(context: Context, path: Path) -> Tensor:
    return external(context, ExternalParameters(path=path))


def write_parquet(path: Path, image_ids: list[str], maps: NDArray, **columns: Any) -> Path:
    flat = [list(map(float, values.ravel())) for values in maps]
    pq.write_table(pa.table({"image_id": image_ids, "map": flat, **columns}), path)
    return path


def write_named(path: Path, image_ids: list[str], maps: NDArray) -> Path:
    np.savez(path, **dict(zip(image_ids, maps, strict=True)))
    return path


def write_stacked(path: Path, image_ids: list[str], maps: NDArray) -> Path:
    np.savez(path, image_ids=np.array(image_ids), maps=maps)
    return path


WRITERS = [(write_parquet, "maps.parquet"), (write_named, "maps.npz"), (write_stacked, "maps.npz")]


@pytest.mark.parametrize(("write", "name"), WRITERS, ids=["parquet", "named", "stacked"])
@pytest.mark.parametrize("side", [4, 16])
def test_maps_come_back_in_the_order_of_the_images(
    context: Context, image_ids: list[str], tmp_path: Path, write: Callable[..., Path], name: str, side: int
) -> None:
    maps = GENERATOR.random((7, side, side))
    order = [*image_ids[::-1], "unused-1", "unused-2"]
    read_back = read(context, write(tmp_path / name, order, maps))
    assert read_back.dtype == torch.float32
    for i in range(5):
        values = maps[4 - i]
        patch = side // 4
        for row in range(4):
            for column in range(4):
                area = values[row * patch : (row + 1) * patch, column * patch : (column + 1) * patch]
                assert float(read_back[i, row, column]) == pytest.approx(area.mean(), rel=1e-6)


def test_rows_and_columns_are_obeyed(tmp_path: Path) -> None:
    """A 2×6 grid and a 6×2 map have the same number of values; only the stated shape tells them apart."""
    classifier = tiny_vit(img_size=(8, 24))
    context = Context(classifier, torch.rand(1, 3, 8, 24), torch.zeros(1).long(), ["a"])
    maps = GENERATOR.random((1, 2, 6)).astype(np.float32)
    right = write_parquet(tmp_path / "right.parquet", ["a"], maps, rows=[2], columns=[6])
    assert np.array_equal(read(context, right)[0].numpy(), maps[0])
    wrong = write_parquet(tmp_path / "wrong.parquet", ["a"], maps, rows=[6], columns=[2])
    with pytest.raises(ArtifactError, match=r"shape \(6, 2\).*patch grid \(2, 6\)"):
        read(context, wrong)
    short = write_parquet(tmp_path / "short.parquet", ["a"], maps, rows=[2], columns=[5])
    with pytest.raises(ArtifactError, match="12 values, but rows × columns say 2×5"):
        read(context, short)


def test_a_folder_of_parquet_files_is_one_table(context: Context, image_ids: list[str], tmp_path: Path) -> None:
    maps = GENERATOR.random((5, 4, 4)).astype(np.float32)
    write_parquet(tmp_path / "shard-000.parquet", image_ids[:2], maps[:2])
    write_parquet(tmp_path / "shard-001.parquet", image_ids[2:], maps[2:])
    assert np.array_equal(read(context, tmp_path).numpy(), maps)


@pytest.mark.parametrize(("write", "name"), WRITERS, ids=["parquet", "named", "stacked"])
def test_nan_is_kept_for_the_stage_to_flag(
    context: Context, image_ids: list[str], tmp_path: Path, write: Callable[..., Path], name: str
) -> None:
    maps = GENERATOR.random((5, 16, 16))
    maps[2, 5, 0] = np.nan
    read_back = read(context, write(tmp_path / name, image_ids, maps))
    assert bool(read_back[2, 1, 0].isnan())
    assert int(read_back.isnan().sum()) == 1


def test_null_inside_a_list_is_nan(context: Context, image_ids: list[str], tmp_path: Path) -> None:
    rows: list[Any] = [[1.0] * 16 for _ in image_ids]
    rows[0] = [None, *rows[0][1:]]
    pq.write_table(pa.table({"image_id": image_ids, "map": rows}), tmp_path / "maps.parquet")
    read_back = read(context, tmp_path / "maps.parquet")
    assert bool(read_back[0, 0, 0].isnan())
    assert int(read_back.isnan().sum()) == 1


@settings(max_examples=15, deadline=None)
@given(hnp.arrays(np.float32, (2, 4, 4), elements=st.floats(-1e6, 1e6, width=32)))
def test_formats_agree(tmp_path_factory: pytest.TempPathFactory, maps: NDArray) -> None:
    folder = tmp_path_factory.mktemp("external")
    context = Context(tiny_vit(), torch.rand(2, 3, 16, 16), torch.zeros(2).long(), ["a/1.png", "ü"])
    results = [read(context, write(folder / name, ["a/1.png", "ü"], maps)) for write, name in WRITERS]
    assert all(np.array_equal(result.numpy(), maps) for result in results)


def test_a_batch_is_a_stack_of_singles(
    vit: Classifier, images: Tensor, targets: Tensor, context: Context, image_ids: list[str], tmp_path: Path
) -> None:
    path = write_stacked(tmp_path / "maps.npz", image_ids, GENERATOR.random((5, 16, 16)))
    together = read(context, path)
    for i in range(5):
        single = read(Context(vit, images[[i]], targets[[i]], [image_ids[i]]), path)
        assert torch.equal(single[0], together[i])


def test_no_pass_is_spent(vit: Classifier, context: Context, image_ids: list[str], tmp_path: Path) -> None:
    calls: list[int] = []
    handle = vit.backbone.register_forward_hook(lambda *_: calls.append(1))
    read(context, write_named(tmp_path / "maps.npz", image_ids, np.ones((5, 4, 4))))
    handle.remove()
    assert not calls


# ---------------------------------------------------------------- bad files


@pytest.mark.parametrize(("write", "name"), WRITERS, ids=["parquet", "named", "stacked"])
def test_missing_images_are_named(
    context: Context, image_ids: list[str], tmp_path: Path, write: Callable[..., Path], name: str
) -> None:
    with pytest.raises(ArtifactError, match="lack 2 of 5 images, first 'image-3'"):
        read(context, write(tmp_path / name, image_ids[:3], np.ones((3, 4, 4))))


@pytest.mark.parametrize(("write", "name"), WRITERS, ids=["parquet", "named", "stacked"])
def test_wrong_size_is_named(
    context: Context, image_ids: list[str], tmp_path: Path, write: Callable[..., Path], name: str
) -> None:
    with pytest.raises(ArtifactError, match=r"'image-0' has .*(4×4 = 16 or 16×16 = 256|patch grid \(4, 4\))"):
        read(context, write(tmp_path / name, image_ids, np.ones((5, 5, 4))))


@pytest.mark.parametrize(("write", "name"), [WRITERS[0], WRITERS[2]], ids=["parquet", "stacked"])
def test_double_images_are_named(context: Context, tmp_path: Path, write: Callable[..., Path], name: str) -> None:
    with pytest.raises(ArtifactError, match="'image-1' twice"):
        read(context, write(tmp_path / name, ["image-1", "image-1"], np.ones((2, 4, 4))))


class Bomb:
    """Unpickling it would create a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


def test_pickles_are_refused(context: Context, image_ids: list[str], tmp_path: Path) -> None:
    bomb = np.array([Bomb(tmp_path / "exploded")], dtype=object)
    np.savez(tmp_path / "named.npz", **dict.fromkeys(image_ids, bomb))
    np.savez(tmp_path / "stacked.npz", image_ids=np.array(image_ids), maps=bomb)
    (tmp_path / "raw.npz").write_bytes(pickle.dumps(Bomb(tmp_path / "exploded")))
    for name in ("named.npz", "stacked.npz", "raw.npz"):
        with pytest.raises(ArtifactError, match="without pickle"):
            read(context, tmp_path / name)
    assert not (tmp_path / "exploded").exists()


def test_broken_files_are_named(context: Context, image_ids: list[str], tmp_path: Path) -> None:
    cases: dict[str, tuple[str, Callable[[Path], Any]]] = {
        "garbage.parquet": ("cannot be read as Parquet", lambda p: p.write_bytes(b"no table")),
        "garbage.npz": ("cannot be read", lambda p: p.write_bytes(b"PK no archive")),
        "empty.npz": ("cannot be read", lambda p: p.write_bytes(b"")),
        "array.npz": ("single array", lambda p: np.save(p.open("wb"), np.ones((5, 4, 4)))),
        "column.parquet": (
            r"no column 'map' \(did you mean 'maps'\?\)",
            lambda p: pq.write_table(pa.table({"image_id": image_ids, "maps": [[1.0]] * 5}), p),
        ),
        "scalar.parquet": (
            "give a list of numbers",
            lambda p: pq.write_table(pa.table({"image_id": image_ids, "map": [1.0] * 5}), p),
        ),
        "null.parquet": (
            "'image-0' is null",
            lambda p: pq.write_table(pa.table({"image_id": image_ids, "map": [None] + [[1.0] * 16] * 4}), p),
        ),
        "text.parquet": (
            "not numbers",
            lambda p: pq.write_table(pa.table({"image_id": image_ids, "map": [["x"] * 16] * 5}), p),
        ),
        "nested.parquet": (
            "give one flat list, row by row",
            lambda p: pq.write_table(pa.table({"image_id": image_ids, "map": [[[1.0] * 4] * 4] * 5}), p),
        ),
        "numbers.parquet": (
            "column 'image_id' is int64; give the names of the images, as text",
            lambda p: pq.write_table(pa.table({"image_id": range(5), "map": [[1.0] * 16] * 5}), p),
        ),
        "bytes.npz": (
            r"give \(N,\) unicode",
            lambda p: np.savez(p, image_ids=np.array(image_ids, dtype="S"), maps=np.ones((5, 4, 4))),
        ),
        "flat.npz": (
            r"give \(5, h, w\)",
            lambda p: np.savez(p, image_ids=np.array(image_ids), maps=np.ones((5, 16))),
        ),
    }
    for name, (message, write) in cases.items():
        write(tmp_path / name)
        with pytest.raises(ArtifactError, match=message) as caught:
            read(context, tmp_path / name)
        assert name in str(caught.value)


@pytest.mark.parametrize("side", [-4, 0, 3.5, float("inf"), "4", True, [4]])
def test_a_shape_is_whole_numbers(context: Context, image_ids: list[str], tmp_path: Path, side: object) -> None:
    path = write_parquet(tmp_path / "maps.parquet", image_ids, np.ones((5, 4, 4)), rows=[4] * 5, columns=[side] * 5)
    with pytest.raises(ArtifactError, match=r"maps\.parquet', column 'columns': .* is no whole number of at least 1"):
        read(context, path)


def test_a_shape_beside_missing_ones_is_a_float(context: Context, image_ids: list[str], tmp_path: Path) -> None:
    """pandas stores whole numbers beside missing ones as floats."""
    maps, some = GENERATOR.random((5, 4, 4)), [4.0, None, float("nan"), 4.0, 4.0]
    path = write_parquet(tmp_path / "maps.parquet", image_ids, maps, rows=some, columns=[4.0] * 5)
    np.testing.assert_array_equal(read(context, path), maps.astype(np.float32))


def test_path_must_exist_and_end_well(context: Context, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nothing\.npz' does not exist"):
        read(context, tmp_path / "nothing.npz")
    (tmp_path / "maps.pkl").touch()
    with pytest.raises(ConfigError, match=r"ends in '\.pkl'"):
        read(context, tmp_path / "maps.pkl")

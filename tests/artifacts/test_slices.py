"""Slices of shards: the rows of some images, whatever the row groups, and without reading the others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vitfaith.artifacts import slices
from vitfaith.artifacts.images import encode_images
from vitfaith.artifacts.parts import run_in_parts
from vitfaith.artifacts.schemas import SHARDS
from vitfaith.artifacts.slices import Sliced, ids_of, write_slices
from vitfaith.artifacts.store import GROUP_BYTES, MOST_ROWS, read_any, read_provenance, rows_in_group, write_table
from vitfaith.errors import ArtifactError

SIDE = 224
IN_GROUP = GROUP_BYTES // (3 * SIDE * SIDE)


def shard(path: Path, count: int, side: int = SIDE) -> pa.Table:
    """A file of ``count`` random images, and its rows."""
    pixels = np.random.default_rng(0).integers(0, 256, (count, 3, side, side), dtype=np.uint8)
    ids = [f"image-{i:03d}" for i in range(count)]
    table = pa.table({"image_id": ids, "label": pa.array(range(count), pa.int32()), **encode_images(pixels)})
    write_table(table, path, SHARDS, {"stage": "shard", "classes": ["a"]})
    return read_any(path)


def groups(path: Path) -> list[int]:
    file = pq.ParquetFile(path).metadata
    return [file.row_group(i).num_rows for i in range(file.num_row_groups)]


def test_a_row_group_holds_few_images(tmp_path: Path) -> None:
    shard(tmp_path / "large.parquet", 60)
    assert IN_GROUP == 27
    assert groups(tmp_path / "large.parquet") == [27, 27, 6]
    shard(tmp_path / "small.parquet", 60, side=28)
    assert groups(tmp_path / "small.parquet") == [60]


def test_row_groups_of_maps_count_their_numbers() -> None:
    maps = {"map": pa.array([[0.0] * 2**18] * 10, pa.list_(pa.float32()))}
    assert rows_in_group(pa.table(maps)) == 4
    assert rows_in_group(pa.table({"value": [1.0] * 10})) == MOST_ROWS
    assert rows_in_group(pa.table({"pixels": pa.array([b"0" * 2 * GROUP_BYTES])})) == 1


def test_row_groups_do_not_depend_on_how_a_table_lies_in_memory(tmp_path: Path) -> None:
    table = shard(tmp_path / "a.parquet", 40)
    chunked = pa.concat_tables([table.slice(0, 7), table.slice(7, 20), table.slice(27)])
    assert rows_in_group(chunked) == rows_in_group(table) == IN_GROUP


def test_pixels_have_no_dictionary_and_ids_have(tmp_path: Path) -> None:
    shard(tmp_path / "a.parquet", 3)
    group = pq.ParquetFile(tmp_path / "a.parquet").metadata.row_group(0)
    columns = {group.column(i).path_in_schema: group.column(i).encodings for i in range(group.num_columns)}
    assert not [name for name in columns["pixels"] if "DICTIONARY" in name]
    assert [name for name in columns["image_id"] if "DICTIONARY" in name]


@pytest.mark.parametrize("older", [False, True], ids=["row groups", "one row group, as older versions wrote"])
def test_a_slice_has_the_rows_of_its_images(tmp_path: Path, older: bool) -> None:
    path, out = tmp_path / "a.parquet", tmp_path / "slice"
    table = shard(path, 60)
    if older:
        pq.write_table(table, path, compression="zstd")
    assert groups(path) == ([60] if older else [27, 27, 6])
    ids = ids_of(path)
    assert ids == table.column("image_id").to_pylist()
    file = Sliced(path)
    for chosen in (ids[:5], ids[25:31], ids[58:], [ids[0], ids[59]]):
        write_slices({"images": file}, chosen, {"images": out})
        found = read_any(out)
        assert found.column("image_id").to_pylist() == chosen
        assert found.equals(table.take([ids.index(i) for i in chosen]))
        assert read_provenance(out)["classes"] == ["a"]


def test_a_slice_reads_its_own_row_groups_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.parquet"
    shard(path, 60)
    file, read = Sliced(path), []

    def noting(file: pq.ParquetFile, numbers: list[int], path: Path) -> pa.Table:
        read.append(numbers)
        return file.read_row_groups(numbers)

    monkeypatch.setattr(slices, "read_groups", noting)
    file.rows(["image-000"])
    file.rows(["image-026", "image-027"])
    file.rows(["image-059"])
    assert read == [[0], [0, 1], [2]]


def test_an_altered_file_is_not_sliced(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    shard(path, 3)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match="was altered"):
        Sliced(path)


def test_joined_parts_lie_in_row_groups_of_their_own(tmp_path: Path) -> None:
    table = shard(tmp_path / "in.parquet", 60)

    def copy(read: dict[str, Path], written: dict[str, Path]) -> None:
        write_table(read_any(read["images"]), written["out"], SHARDS, {"stage": "copy", "forwards": 1})

    inputs, outputs = {"images": tmp_path / "in.parquet"}, {"out": tmp_path / "out.parquet"}
    run_in_parts(copy, inputs, outputs, part_size=20, settings="")  # type: ignore[arg-type]
    assert groups(outputs["out"]) == [20, 20, 20]
    assert read_any(outputs["out"]).replace_schema_metadata().equals(table.replace_schema_metadata())
    assert read_provenance(outputs["out"]) == {"stage": "copy", "forwards": 3}

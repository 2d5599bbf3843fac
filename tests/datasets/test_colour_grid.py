"""The counting task: what is drawn, that it depends on seed and number alone, and what settings it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.datasets.test_readers import opened
from vitfaith.artifacts.images import decode_images, decode_truth
from vitfaith.artifacts.schemas import SHARDS
from vitfaith.artifacts.store import read_table
from vitfaith.datasets.colour_grid import CORNERS, ColourGridParameters, draw
from vitfaith.errors import ConfigError
from vitfaith.rng import derive_seed
from vitfaith.stages.shard import run_shard
from vitfaith.study.load import instance


def everything(**chosen: Any) -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray]:
    """(ids, labels, images, masks) of all grids."""
    source = opened("colour_grid", chosen)
    indices = np.arange(len(source.labels))
    assert source.masks is not None
    return source.image_ids, source.labels, source.read(indices), np.stack(list(source.masks(indices)))


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 5),
    st.integers(1, 5),
    st.integers(1, 6),
    st.lists(st.sampled_from([*CORNERS, "#12ab9f"]), min_size=2, max_size=6, unique=True),
    st.integers(0, 3),
)
def test_labels_count_cells_and_masks_are_exact(rows: int, columns: int, cell: int, colours: list, seed: int) -> None:
    names = {**CORNERS, "#12ab9f": (0x12, 0xAB, 0x9F)}
    ids, labels, images, masks = everything(
        rows=rows, columns=columns, cell=cell, colours=colours, counted=colours[-1], seed=seed, grids=12
    )
    assert images.shape == (12, 3, rows * cell, columns * cell)
    assert images.dtype == np.uint8
    assert masks.shape == (12, rows * cell, columns * cell)
    for k in range(12):
        count = 0
        for r in range(rows):
            for c in range(columns):
                block = images[k, :, r * cell : (r + 1) * cell, c * cell : (c + 1) * cell].reshape(3, -1)
                assert (block == block[:, :1]).all(), "cells have one colour"
                rgb = tuple(int(v) for v in block[:, 0])
                assert rgb in {names[n] for n in colours}
                hit = rgb == names[colours[-1]]
                count += hit
                assert (masks[k, r * cell : (r + 1) * cell, c * cell : (c + 1) * cell] == hit).all()
        assert labels[k] == count
    assert len(set(ids)) == 12


def test_a_grid_is_drawn_from_seed_and_name_alone() -> None:
    """The same numbers by hand: how many, the other colours, a permutation."""
    p = ColourGridParameters()
    cells = draw(p, "validation-00007")
    source = np.random.default_rng(derive_seed(0, "validation-00007", "colour_grid"))
    number, others, order = source.integers(0, 10), source.integers(0, 5, 9), source.permutation(9)
    expected = [1 + int(k) for k in others]
    for place in order[:number]:
        expected[place] = 0
    assert cells.ravel().tolist() == expected


def test_more_grids_and_other_orders_leave_a_grid_as_it_is() -> None:
    few, many = opened("colour_grid", {"grids": 5}), opened("colour_grid", {"grids": 40})
    assert few.image_ids == many.image_ids[:5]
    assert np.array_equal(few.labels, many.labels[:5])
    assert np.array_equal(few.read(np.arange(5)), many.read(np.array([4, 3, 2, 1, 0]))[::-1])
    assert np.array_equal(few.read(np.array([3]))[0], many.read(np.arange(40))[3])
    assert few.masks is not None
    assert many.masks is not None
    assert np.array_equal(next(iter(few.masks(np.array([2])))), list(many.masks(np.arange(40)))[2])
    assert few.read(np.array([], np.int64)).shape == (0, 3, 48, 48)


def test_shards_of_any_size_hold_the_same_grids(tmp_path: Path) -> None:
    reader = instance("datasets", "g", {"reader": "colour_grid", "grids": 30}).spec()

    def rows(size: int, images: int | None = None) -> dict[str, tuple[int, bytes, bytes]]:
        found = {}
        for k in range(-(-(images or 30) // size)):
            spec = {"seed": 1, "reader": reader, "images": images, "shard_size": size, "shard": f"shard-{k:03d}"}
            path = tmp_path / f"{size}-{images}-{k}.parquet"
            run_shard(spec, "", path)
            table = read_table(path, SHARDS)
            pixels, truth = decode_images(table, np.uint8, ""), decode_truth(table, "")
            assert truth is not None
            for row, (name, label) in enumerate(
                zip(*(table.column(c).to_pylist() for c in ("image_id", "label")), strict=True)
            ):
                found[name] = (label, pixels[row].tobytes(), truth[row].tobytes())
        return found

    whole = rows(30)
    assert len(whole) == 30
    assert rows(7) == whole
    part = rows(7, 16)
    assert len(part) == 16
    assert part.items() <= whole.items()


def test_splits_and_seeds_are_other_grids() -> None:
    drawn = [everything(grids=20, **chosen)[2] for chosen in ({}, {"split": "train"}, {"split": "test"}, {"seed": 1})]
    for i, first in enumerate(drawn):
        assert not any(np.array_equal(first, other) for other in drawn[:i])


def test_counts_are_uniform_and_places_and_colours_even() -> None:
    p = ColourGridParameters(grids=4000)
    cells = np.stack([draw(p, f"train-{i:05d}") for i in range(4000)])
    counts = np.bincount((cells == 0).sum((1, 2)), minlength=10)
    assert ((counts - 400) ** 2 / 400).sum() < 33.7, "chi-square with 9 degrees, p = 1e-4"
    where = (cells == 0).mean(0)
    assert np.abs(where - 0.5).max() < 4.5 * 0.5 / np.sqrt(4000)
    other = np.bincount(cells[cells > 0].ravel(), minlength=6)[1:]
    assert ((other - other.mean()) ** 2 / other.mean()).sum() < 23.6, "chi-square with 4 degrees, p = 1e-4"


def test_all_or_none_counted_leaves_one_side_of_the_mask_empty() -> None:
    _, labels, _, masks = everything(grids=200)
    assert {0, 9} <= set(labels.tolist())
    assert not masks[labels == 0].any()
    assert masks[labels == 9].all()
    both = (labels > 0) & (labels < 9)
    assert all(m.any() and not m.all() for m in masks[both])


def test_class_names_say_what_is_counted() -> None:
    source = opened(
        "colour_grid", {"rows": 2, "columns": 1, "colours": ["blue", "white"], "counted": "blue", "grids": 1}
    )
    assert list(source.classes) == ["0 blue", "1 blue", "2 blue"]


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        (
            {"colours": ["red", "gren"]},
            r"colours: .*unknown colour 'gren' \(did you mean 'green'\?\); name one of red, .*#rrggbb",
        ),
        ({"colours": ["red", "#12345"]}, r"colours: .*unknown colour '#12345'; name one of"),
        ({"colours": ["red"]}, r"colours: .*a grid needs two colours or more"),
        (
            {"colours": ["red", "green", "#FF0000"]},
            r"colours: .*'#FF0000' and 'red' are one colour; name each colour once",
        ),
        ({"colours": ["red", "red"]}, r"colours: .*'red' and 'red' are one colour"),
        ({"colours": ["blue", "green"]}, r"counted 'red' is none of the colours blue, green; add it to them"),
        ({"rows": 0}, r"rows"),
        ({"cell": 0}, r"cell"),
        ({"grids": 0}, r"grids"),
        ({"split": "val"}, r"split"),
    ],
)
def test_bad_settings_are_one_clear_message(chosen: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        opened("colour_grid", chosen)
    assert "\n" not in str(caught.value)
    print(caught.value)

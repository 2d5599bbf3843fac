"""The planted patch: one cell decides the label, its mask is exact, and what settings are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.datasets.test_readers import opened
from vitfaith.datasets.colour_grid import CORNERS
from vitfaith.datasets.planted_patch import PlantedPatchParameters
from vitfaith.errors import ConfigError

PLANTED, OTHERS = ("red", "green", "blue"), ("yellow", "cyan", "magenta")


def everything(**chosen: Any) -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray]:
    """(ids, labels, images, masks) of all grids."""
    source = opened("planted_patch", chosen)
    indices = np.arange(len(source.labels))
    assert source.masks is not None
    return source.image_ids, source.labels, source.read(indices), np.stack(list(source.masks(indices)))


def test_one_cell_has_the_colour_of_the_class_and_the_mask() -> None:
    ids, labels, images, masks = everything(rows=2, columns=3, cell=4, grids=300)
    assert images.shape == (300, 3, 8, 12)
    assert len(set(ids)) == 300
    places = []
    for image, mask, label in zip(images, masks, labels, strict=True):
        blocks = image.reshape(3, 2, 4, 3, 4).transpose(1, 3, 2, 4, 0).reshape(6, 16, 3)
        assert (blocks == blocks[:, :1]).all(), "cells have one colour"
        names = [next(n for n, rgb in CORNERS.items() if tuple(block[0]) == rgb) for block in blocks]
        hits = [i for i, name in enumerate(names) if name in PLANTED]
        assert len(hits) == 1
        assert names[hits[0]] == PLANTED[label]
        assert {name for name in names if name not in PLANTED} <= set(OTHERS)
        assert np.array_equal(mask.reshape(2, 4, 3, 4).transpose(0, 2, 1, 3).reshape(6, 16).mean(1), np.eye(6)[hits[0]])
        places.append(hits[0])
    # 300 draws of 6 places and 3 classes: 50 ± 6.5 and 100 ± 8.2
    assert np.abs(np.bincount(places, minlength=6) - 50).max() < 26
    assert np.abs(np.bincount(labels, minlength=3) - 100).max() < 33


def test_a_grid_depends_on_seed_split_and_number_alone() -> None:
    few, many = everything(grids=5), everything(grids=9)
    assert np.array_equal(few[2], many[2][:5])
    assert not np.array_equal(few[2], everything(grids=5, seed=1)[2])
    assert not np.array_equal(few[2], everything(grids=5, split="train")[2])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"planted": ["red", "green"], "others": ["green"]}, "are one colour"),
        ({"planted": ["red", "#ff0000"]}, "are one colour"),
        ({"planted": ["red"]}, "planted"),
        ({"planted": ["red", "gren"]}, "did you mean 'green'"),
    ],
)
def test_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises((ConfigError, ValueError), match=message):
        PlantedPatchParameters(**settings)

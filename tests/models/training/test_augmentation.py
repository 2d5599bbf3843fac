"""Random changes of training images: within their bounds, keyed, and by default none of the erasing."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from vitfaith.models.training.augmentation import AREA, ASPECT, augment
from vitfaith.models.training.recipe import ClassifierRecipe

STILL = {"shift": 0, "flip": False}


def test_shifts_stay_within_bounds_and_repeat() -> None:
    recipe = ClassifierRecipe(shift=1, flip=False)
    images = torch.rand(6, 2, 5, 5)
    moved = augment(images, recipe, seed=0, step=3)
    padded = torch.nn.functional.pad(images, [1] * 4)
    for i in range(6):
        options = [padded[i, :, dy : dy + 5, dx : dx + 5] for dy in range(3) for dx in range(3)]
        assert any(torch.equal(moved[i], option) for option in options)
    assert torch.equal(moved, augment(images, recipe, seed=0, step=3))
    only_flips = augment(images, ClassifierRecipe(shift=0, flip=True), seed=0, step=0)
    assert all(torch.equal(a, b) or torch.equal(a, b.flip(-1)) for a, b in zip(only_flips, images, strict=True))


def test_what_is_erased_is_one_rectangle_of_noise() -> None:
    height, width = 24, 30
    images = torch.full((400, 2, height, width), -1.0)  # a value that noise in [0, 1) never has
    erased = augment(images, ClassifierRecipe(**STILL, erasing=1.0), seed=0, step=0)
    changed = erased != -1
    assert torch.equal(changed[:, 0], changed[:, 1])
    assert 0 <= erased[changed].min() < 0.01
    assert 0.99 < erased[changed].max() < 1
    assert erased[changed].mean() == pytest.approx(0.5, abs=0.01)
    sides, places = [], []
    for mask in changed[:, 0]:
        rows, columns = mask.any(1).nonzero()[:, 0], mask.any(0).nonzero()[:, 0]
        sides.append((len(rows), len(columns)))
        places.append((int(rows[0]), int(columns[0])))
        assert mask.sum() == len(rows) * len(columns)  # filled, so one rectangle
        assert rows[-1] - rows[0] + 1 == len(rows)
        assert columns[-1] - columns[0] + 1 == len(columns)
    for rows, columns in sides:
        slack = 0.5 * (rows + columns) + 0.25  # pixels that rounding both sides can add or take
        assert rows * columns <= AREA[1] * height * width + slack
        assert rows == height or columns == width or rows * columns >= AREA[0] * height * width - slack
        assert rows == height or columns == width or (rows + 0.5) / (columns - 0.5) >= ASPECT[0]
        assert rows == height or columns == width or (rows - 0.5) / (columns + 0.5) <= ASPECT[1]
    shares = [rows * columns / (height * width) for rows, columns in sides]
    assert sum(shares) / 400 == pytest.approx(sum(AREA) / 2, abs=0.02)  # uniform area
    assert {0} < {top for top, _ in places}
    assert any(top + rows == height for (top, _), (rows, _) in zip(places, sides, strict=True))


def test_the_share_of_erased_images_and_the_keys() -> None:
    images, recipe = torch.full((2000, 1, 8, 8), -1.0), ClassifierRecipe(**STILL, erasing=0.25)
    erased = augment(images, recipe, seed=0, step=0)
    share = (erased != -1).flatten(1).any(1).double().mean()
    assert float(share) == pytest.approx(0.25, abs=0.03)
    assert torch.equal(erased, augment(images, recipe, seed=0, step=0))
    assert not torch.equal(erased, augment(images, recipe, seed=0, step=1))
    assert not torch.equal(erased, augment(images, recipe, seed=1, step=0))
    assert torch.equal(augment(images, ClassifierRecipe(**STILL), seed=0, step=0), images)


def test_erasing_leaves_shifts_and_flips_as_they_are() -> None:
    images = torch.rand(50, 1, 8, 8) - 2
    plain, erased = (augment(images, ClassifierRecipe(shift=1, erasing=e), seed=4, step=2) for e in (0.0, 0.5))
    assert torch.equal(plain[erased < 0], erased[erased < 0])
    assert (erased >= 0).any()


def test_a_share_above_one_is_refused() -> None:
    with pytest.raises(ValidationError, match="less than or equal to 1"):
        ClassifierRecipe(erasing=1.5)

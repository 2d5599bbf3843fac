"""Random changes of training images, keyed by (seed, step)."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from vitfaith.models.training.recipe import ClassifierRecipe
from vitfaith.rng import derive_seed

AREA = (0.02, 1 / 3)
"""Least and largest share of an image that is erased."""
ASPECT = (0.3, 1 / 0.3)
"""Least and largest height per width of an erased rectangle."""


def augment(images: Tensor, recipe: ClassifierRecipe, seed: int, step: int) -> Tensor:
    """Random shift, flip and erasing of a batch (B, C, H, W) in [0, 1], keyed by (seed, step)."""
    moved = _moved(images, recipe, seed, step)
    return moved if recipe.erasing == 0 else _erased(moved, recipe.erasing, seed, step)


def _moved(images: Tensor, recipe: ClassifierRecipe, seed: int, step: int) -> Tensor:
    rng = np.random.default_rng(derive_seed(seed, "batch", "augment", step))
    count, _, height, width = images.shape
    padded = functional.pad(images, [recipe.shift] * 4)
    dy, dx = rng.integers(0, 2 * recipe.shift + 1, (2, count))
    rows = torch.from_numpy(dy)[:, None] + torch.arange(height)
    columns = torch.from_numpy(dx)[:, None] + torch.arange(width)
    if recipe.flip:
        flipped = torch.from_numpy(rng.random(count) < 0.5)
        columns = torch.where(flipped[:, None], columns.flip(1), columns)
    return padded[torch.arange(count)[:, None, None], :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def _erased(images: Tensor, share: float, seed: int, step: int) -> Tensor:
    """A rectangle of uniform noise in about ``share`` of the images; area and log-aspect are uniform, its place too."""
    rng = np.random.default_rng(derive_seed(seed, "batch", "erase", step))
    count, _, height, width = images.shape
    area = rng.uniform(*AREA, count) * height * width
    aspect = np.exp(rng.uniform(math.log(ASPECT[0]), math.log(ASPECT[1]), count))
    chosen = rng.random(count) < share
    inside = [
        _interval(length, np.rint(np.sqrt(side)).clip(1, length), rng.random(count))
        for length, side in ((height, area * aspect), (width, area / aspect))
    ]
    mask = torch.from_numpy(chosen[:, None, None] & inside[0][:, :, None] & inside[1][:, None, :])
    noise = torch.from_numpy(rng.random(images.shape, dtype=np.float32))
    return torch.where(mask[:, None], noise, images)


def _interval(length: int, side: NDArray[np.float64], place: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(B, length): the positions of an interval of ``side`` ≤ length pixels; ``place`` in [0, 1) says where it begins."""
    start = np.floor(place * (length - side + 1))[:, None]
    at = np.arange(length)
    return (start <= at) & (at < start + side[:, None])

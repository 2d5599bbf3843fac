"""Localisation metrics by loops over pixels and by scikit-learn."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, f1_score, jaccard_score, roc_auc_score
from torch import Tensor

from tests.score.oracles.base import Oracle, Pair, batch, doubles
from tests.score.textbook import admissible, bilinear

Pixels = NDArray[np.float64]
Truth = NDArray[np.int64]

COUNTS = [
    "labelled", "correct", "intersection_background", "intersection_object", "union_background", "union_object",
]  # fmt: skip


@cache
def random_maps() -> tuple[Tensor, Tensor]:
    """Two maps of each image, one the other's negative: some point at the object, some do not."""
    maps = torch.randn(5, 4, 4, generator=torch.Generator().manual_seed(1))
    return maps, -maps


def of_each_image(oracle: Callable[[Pixels, Truth], float | list[float]]) -> Tensor:
    """``oracle(map, truth)`` of the upsampled maps."""
    truth = batch().truth.numpy()
    return doubles(
        [oracle(bilinear(maps[i].double().numpy(), 16, 16), truth[i]) for maps in random_maps() for i in range(5)]
    )


def in_unit_range(values: Pixels) -> Pixels:
    return (values - values.min()) / (values.max() - values.min())


def counts(values: Pixels, truth: Truth) -> list[float]:
    """Pixel by pixel, object where the map is above its mean."""
    scaled = in_unit_range(values)
    threshold, tally = scaled.mean(), dict.fromkeys(COUNTS, 0.0)
    for y, x in zip(*np.nonzero(truth >= 0), strict=True):
        guess, real = int(scaled[y, x] > threshold), int(truth[y, x])
        tally["labelled"] += 1
        tally["correct"] += guess == real
        for label, name in enumerate(("background", "object")):
            tally[f"intersection_{name}"] += guess == real == label
            tally[f"union_{name}"] += label in (guess, real)
    return list(tally.values())


def f1(values: Pixels, truth: Truth) -> float:
    return f1_score(truth[truth >= 0], (values > values.mean())[truth >= 0])


def two_channels(values: Pixels, truth: Truth) -> float:
    """Average precision of both classes at once."""
    scaled, real = in_unit_range(values)[truth >= 0], truth[truth >= 0]
    return average_precision_score(np.concatenate([real == 0, real == 1]), np.concatenate([1 - scaled, scaled]))


def best_iou(values: Pixels, truth: Truth) -> float:
    kept, real = values[truth >= 0], truth[truth >= 0] == 1
    return max(((kept >= t) & real).sum() / ((kept >= t) | real).sum() for t in kept)


def rank_accuracy(values: Pixels, truth: Truth) -> float:
    kept, real = values[truth >= 0], truth[truth >= 0]
    return real[sorted(range(len(kept)), key=lambda p: -kept[p])[: real.sum()]].mean()


def mass_accuracy(values: Pixels, truth: Truth) -> float:
    mass = np.clip(values, 0, None)
    return mass[truth == 1].sum() / mass[truth >= 0].sum()


def pointing(values: Pixels, truth: Truth) -> float:
    row, column = divmod(int(values.argmax()), 16)
    near = min(math.hypot(y - row, x - column) for y, x in zip(*np.nonzero(truth == 1), strict=True))
    return float(near <= 15 / 224 * 16)


def segmentation(variants: list[str], oracle: Callable[[Pixels, Truth], float | list[float]]) -> Pair:
    found = [batch().scores("segmentation", maps) for maps in random_maps()]
    columns = [torch.cat([scores[variant] for scores in found]) for variant in variants]
    return torch.stack(columns, 1), of_each_image(oracle).view(10, -1)


def localisation(name: str, oracle: Callable[[Pixels, Truth], float]) -> Pair:
    return torch.cat([batch().score(name, maps) for maps in random_maps()]), of_each_image(oracle)


def of_labelled(function: Callable[[Truth, Pixels], float]) -> Callable[[Pixels, Truth], float]:
    """A function of scikit-learn on the labelled pixels."""
    return lambda values, truth: function(truth[truth >= 0], values[truth >= 0])


def cells_of(*codes: int) -> Tensor:
    """A 4 × 4 pattern of cells for each number, by its bits."""
    return torch.tensor([[code >> i & 1 for i in range(16)] for code in codes]).view(-1, 4, 4)


def blocks(cells: Tensor) -> Tensor:
    """Cells (B, 4, 4) as pixels (B, 16, 16)."""
    return cells.repeat_interleave(4, 1).repeat_interleave(4, 2)


CELLS = cells_of(0b0110_0000_1001_1111, 0b1, 0b1111_1111_0000_1111, 0b1010_0101_1010_0101, 0b0111_1111_1111_1111)


def tied_maps() -> Tensor:
    maps = torch.randn(5, 4, 4, generator=torch.Generator().manual_seed(8))
    maps[1:3] = maps[1:3].round()
    return maps


def better_mask(
    name: str, variants: tuple[str, ...], oracle: Callable[[Pixels, NDArray[np.bool_]], list[float]]
) -> Pair:
    """``oracle(map in [0, 1], mask)`` of each image, cell by cell."""
    found = replace(batch(), truth=blocks(CELLS)).scores(name, tied_maps())
    pairs = zip(tied_maps().double().numpy(), CELLS.numpy() == 1, strict=True)
    expected = [oracle(in_unit_range(values), inside) for values, inside in pairs]
    return torch.stack([found[variant] for variant in variants], 1), doubles(expected)


def loops(variants: tuple[str, ...]) -> Callable[[Pixels, NDArray[np.bool_]], list[float]]:
    return lambda values, inside: [admissible(values, inside)[variant] for variant in variants]


def of_scikit_learn(values: Pixels, inside: NDArray[np.bool_]) -> list[float]:
    flat, actual = values.ravel(), inside.ravel()
    overlap = max(jaccard_score(side, flat > 0.5) for side in (actual, ~actual))
    return [overlap, max(roc_auc_score(actual, sign * flat) for sign in (1, -1))]


PIXELS, CELL_LOOP, READ_OUTS = (
    "loop over pixels, float64",
    "loop over cells, float64",
    ("iou", "exact", "best_iou", "auroc"),
)
SCIKIT_LEARN = "package scikit-learn; upsampled maps"

ORACLES = [
    Oracle("segmentation", "textbook loop", f"{PIXELS}; counts", 1e-12, partial(segmentation, COUNTS, counts)),
    Oracle("segmentation", "f1_score", SCIKIT_LEARN, 1e-9, partial(segmentation, ["f1"], f1)),
    Oracle(
        "segmentation",
        "average_precision_score",
        f"{SCIKIT_LEARN}, both classes",
        1e-9,
        partial(segmentation, ["average_precision"], two_channels),
    ),
    *[
        Oracle(name, source, SCIKIT_LEARN, 1e-9, partial(localisation, name, of_labelled(function)))
        for name, source, function in (
            ("localisation_ap", "average_precision_score", average_precision_score),
            ("localisation_auroc", "roc_auc_score", roc_auc_score),
        )
    ],
    *[
        Oracle(name, "textbook loop", PIXELS, 1e-9, partial(localisation, name, oracle))
        for name, oracle in (
            ("localisation_best_iou", best_iou),
            ("relevance_rank_accuracy", rank_accuracy),
            ("energy_pointing_game", mass_accuracy),
            ("pointing_game", pointing),
        )
    ],
    Oracle(
        "admissible_mask",
        "textbook loop",
        f"{CELL_LOOP}; {', '.join(READ_OUTS)}",
        1e-12,
        partial(better_mask, "admissible_mask", READ_OUTS, loops(READ_OUTS)),
    ),
    Oracle(
        "admissible_mask",
        "jaccard_score, roc_auc_score",
        "package scikit-learn; iou, auroc of the better mask",
        1e-9,
        partial(better_mask, "admissible_mask", ("iou", "auroc"), of_scikit_learn),
    ),
    Oracle(
        "admissible_side",
        "textbook loop",
        CELL_LOOP,
        1e-12,
        partial(better_mask, "admissible_side", ("",), loops(("",))),
    ),
]

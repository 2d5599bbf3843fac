"""Localisation metrics by loops over pixels and by scikit-learn."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import hypergeom
from sklearn.metrics import average_precision_score, f1_score, jaccard_score, roc_auc_score
from torch import Tensor

from tests.metrics.oracles.base import Oracle, Pair, batch, doubles
from tests.metrics.textbook import admissible, bilinear
from vitfaith.metrics.localisation import average_precision as read_average_precision

Pixels = NDArray[np.float64]
Truth = NDArray[np.int64]

COUNTS = [
    "labelled", "correct", "intersection_background", "intersection_object", "union_background", "union_object",
]  # fmt: skip


@cache
def random_maps() -> tuple[Tensor, Tensor, Tensor]:
    """Three maps of each image, one the other's negative, one with ties: some point at the object, some do not."""
    maps = torch.randn(5, 4, 4, generator=torch.Generator().manual_seed(1))
    return maps, -maps, maps.round()


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
    """Run by run of equal pixels: as many of a run lead as places are left, each of them equally often."""
    kept, real = values[truth >= 0], truth[truth >= 0]
    left, hits = int(real.sum()), 0.0
    for value in sorted(set(kept.tolist()), reverse=True):
        run = real[kept == value]
        hits += run.mean() * min(left, len(run))
        left -= min(left, len(run))
    return hits / real.sum()


def average_precision(values: Pixels, truth: Truth) -> float:
    """Run by run of equal pixels, over all numbers of object pixels that can stand before each place of the run."""
    kept, real = values[truth >= 0], truth[truth >= 0]
    total = places = found = 0
    for value in sorted(set(kept.tolist()), reverse=True):
        run = real[kept == value]
        size, own = len(run), int(run.sum())
        for place in range(size):
            for earlier in range(min(place, own) + 1):
                chance = hypergeom.pmf(earlier, size, own, place) * (own - earlier) / (size - place)
                total += chance * (found + earlier + 1) / (places + place + 1)
        places, found = places + size, found + own
    return total / real.sum()


def mass_accuracy(values: Pixels, truth: Truth) -> float:
    mass = np.clip(values, 0, None)
    return mass[truth == 1].sum() / mass[truth >= 0].sum()


def pointing(values: Pixels, truth: Truth) -> float:
    objects = list(zip(*np.nonzero(truth == 1), strict=True))
    highest = list(zip(*np.nonzero(values == values.max()), strict=True))
    near = [min(math.hypot(y - row, x - column) for y, x in objects) for row, column in highest]
    return float(np.mean([distance <= 15 / 224 * 16 for distance in near]))


def segmentation(variants: list[str], oracle: Callable[[Pixels, Truth], float | list[float]]) -> Pair:
    found = [batch().scores("segmentation", maps) for maps in random_maps()]
    columns = [torch.cat([scores[variant] for scores in found]) for variant in variants]
    return torch.stack(columns, 1), of_each_image(oracle).view(15, -1)


def localisation(name: str, oracle: Callable[[Pixels, Truth], float]) -> Pair:
    return torch.cat([batch().score(name, maps) for maps in random_maps()]), of_each_image(oracle)


def average_precision_without_ties() -> Pair:
    pixels = torch.stack([torch.randperm(256, generator=torch.Generator().manual_seed(i)) for i in range(20)]).double()
    objects = batch().truth.clamp(min=0).flatten(1).repeat(4, 1) == 1
    ours = [float(read_average_precision(pixels[i : i + 1], objects[i])) for i in range(20)]
    return doubles(ours), doubles([average_precision_score(objects[i], pixels[i]) for i in range(20)])


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
        for name, source, function in (("localisation_auroc", "roc_auc_score", roc_auc_score),)
    ],
    Oracle(
        "localisation_ap",
        "average_precision_score",
        "package scikit-learn; the read-out on maps of pixels without ties",
        1e-12,
        average_precision_without_ties,
    ),
    *[
        Oracle(name, "textbook loop", PIXELS, 1e-9, partial(localisation, name, oracle))
        for name, oracle in (
            ("localisation_ap", average_precision),
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

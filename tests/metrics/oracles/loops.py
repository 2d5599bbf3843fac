"""SaCo, the metrics of the response bank, soft masks, completeness and complexity, image by image and set by set."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from tests.metrics import textbook
from tests.metrics.oracles.base import Oracle, Pair, batch, doubles
from vitfaith.metrics.bank.masks import Subsets
from vitfaith.metrics.saco import saco, saco_rank
from vitfaith.rng import uniform

Sets = list[list[int]]
Score = Callable[[list[float], list[float]], float]
"""(attribution of each set, drop without it) → score."""


@cache
def drops(image: int, sets: tuple[tuple[int, ...], ...], log: bool = False, draw: int | None = None) -> list[float]:
    """Drop in (log-)probability without each set of patches; with ``draw`` they are replaced by that noise."""
    b = batch()
    clean = b.images[image]
    filling = clean.mean().expand(3, 16, 16)
    if draw is not None:
        filling = uniform(0, b.ids, "fill-noise", (3, 16, 16), draw)[image]
    output = b.log_probability if log else b.probability
    return [output(image, clean) - output(image, textbook.without(clean, list(s), filling, (4, 4))) for s in sets]


def pairs(image: int, sets: Sets, log: bool = False) -> tuple[list[float], list[float]]:
    values = batch().maps.double().flatten(1)[image].tolist()
    return [sum(values[p] for p in s) for s in sets], drops(image, tuple(map(tuple, sets)), log)


def random_sets(image: int, size: float, side: int | None = None) -> Sets:
    chosen = Subsets(size, 12, side).masks((4, 4), batch().ids, 0)[image]
    return [row.nonzero().flatten().tolist() for row in chosen]


def singles(_image: int) -> Sets:
    return [[patch] for patch in range(16)]


def cells(_image: int) -> Sets:
    return [[4 * (2 * r + i) + 2 * c + j for i in (0, 1) for j in (0, 1)] for r in (0, 1) for c in (0, 1)]


def pearson(sums: list[float], losses: list[float]) -> float:
    return stats.pearsonr(sums, losses).statistic


def spearman(sums: list[float], losses: list[float]) -> float:
    return stats.spearmanr(sums, losses).statistic


def infidelity(scaled: bool, sums: list[float], losses: list[float]) -> float:
    factor = sum(s * d for s, d in zip(sums, losses, strict=True)) / sum(s * s for s in sums) if scaled else 1.0
    return sum((factor * s - d) ** 2 for s, d in zip(sums, losses, strict=True)) / len(sums)


def response_bank(name: str, sets: Callable[[int], Sets], score: Score, **settings: Any) -> Pair:
    log = settings.get("output") == "log_probability"
    return batch().score(name, **settings), doubles([score(*pairs(i, sets(i), log)) for i in range(5)])


def sensitivity_n(**settings: Any) -> Pair:
    """Two sizes."""
    found = batch().scores("sensitivity_n", sizes=(2, 0.5), count=12, **settings)
    log = settings["output"] == "log_probability"
    expected = [[pearson(*pairs(i, random_sets(i, size), log)) for i in range(5)] for size in (2, 0.5)]
    return torch.stack([found["n=2"], found["n=0.5"]]), doubles(expected)


def monotonicity(draws: int) -> Pair:
    """Squared responses, averaged over draws of the noise where there are several."""
    b, expected = batch(), []
    every = tuple((patch,) for patch in range(16))
    for i in range(5):
        losses = [drops(i, every, draw=draw) for draw in ([None] if draws == 1 else range(draws))]
        expected.append(spearman(b.maps[i].abs().flatten().tolist(), np.square(losses).mean(0).tolist()))
    settings = {} if draws == 1 else {"fill": "noise", "draws": draws}
    return b.score("monotonicity_correlation", **settings), doubles(expected)


def saco_groups(name: str, level: str, salience: str = "mean") -> Pair:
    """Algorithm 1 of the paper, group by group, for 10 and 5 groups."""
    b, expected = batch(), []
    for groups, i in itertools.product((10, 5), range(5)):
        scores = b.maps[i].numpy() if level == "patch" else textbook.bilinear(b.maps[i].numpy(), 16, 16)
        members = textbook.groups_of(textbook.order_of(scores, b.ids[i]), groups, b.ids[i])
        weigh = np.mean if salience == "mean" else np.sum
        saliences = [float(weigh(scores.ravel()[group])) for group in members]
        filling = torch.full_like(b.images[i], float(b.images[i].double().mean()))
        grid = (4, 4) if level == "patch" else None
        masked = [b.probability(i, textbook.without(b.images[i], group, filling, grid)) for group in members]
        clean = b.probability(i, b.images[i])
        expected.append(textbook.saco(saliences, [clean - p for p in masked], weighted=name == "saco"))
    found = b.scores(name, groups=(10, 5), level=level, salience=salience)
    return torch.cat([found["k=10"], found["k=5"]]), doubles(expected)


def saco_figure() -> Pair:
    """Salience and drops of ten groups as read from the paper's figure, which states the score."""
    read = [
        ([2140, 1030, 510, 305, 205, 155, 115, 85, 65, 35],
         [0.53, 0.91, 0.01, 0.05, 0.07, 0.10, 0.17, 0.02, 0.45, -0.03]),
        ([1870, 270, 75, 15, 8, 4, 3, 3, 3, 1],
         [0.92, 0.80, -0.01, -0.02, -0.03, 0.025, 0.075, 0.01, 0.045, 0.01]),
    ]  # fmt: skip
    return doubles([float(saco(doubles(s), doubles(d))) for s, d in read]), doubles([0.691, 0.953])


def saco_kendall() -> Pair:
    generator = torch.Generator().manual_seed(0)
    salience = torch.rand(6, 10, generator=generator, dtype=torch.float64).sort(dim=1, descending=True).values
    losses = torch.rand(6, 10, generator=generator, dtype=torch.float64)
    theirs = [stats.kendalltau(s, d).statistic for s, d in zip(salience.numpy(), losses.numpy(), strict=True)]
    return doubles([float(saco_rank(s, d)) for s, d in zip(salience, losses, strict=True)]), doubles(theirs)


SOFT: dict[str, Callable[[float, float], float]] = {
    "average_drop": lambda clean, masked: max(0, clean - masked) / clean,
    "average_increase": lambda clean, masked: float(masked > clean),
    "average_gain": lambda clean, masked: max(0, masked - clean) / (1 - clean),
}


def soft_mask(name: str, fill: str) -> Pair:
    b, expected = batch(), []
    for i in range(5):
        pixels = textbook.bilinear(b.maps[i].double().numpy(), 16, 16)
        mask = torch.from_numpy((pixels - pixels.min()) / (pixels.max() - pixels.min())).float()
        background = 0.0 if fill == "black" else b.images[i].mean()
        blended = mask * b.images[i] + (1 - mask) * background
        expected.append(SOFT[name](b.probability(i, b.images[i]), b.probability(i, blended)))
    return b.score(name, fill=fill), doubles(expected)


def completeness(output: str) -> Pair:
    b, expected = batch(), []

    def logit(index: int, image: Tensor) -> float:
        return float(b.classifier(image[None])[0, b.targets[index]].double())

    ask = {"probability": b.probability, "log_probability": b.log_probability, "logit": logit}[output]
    for i in range(5):
        total = sum(float(value) for value in b.maps[i].flatten())
        expected.append(abs(total - (ask(i, b.images[i]) - ask(i, torch.zeros(3, 16, 16)))))
    return b.score("completeness_error", output=output), doubles(expected)


def effective_complexity(output: str, steps: int, tolerance: float) -> Pair:
    """Ever more patches of largest magnitude, until the output is near that of the image."""
    b, expected = batch(), []

    def ask(index: int, image: Tensor) -> float:
        return {"probability": b.probability, "log_probability": b.log_probability}[output](index, image)

    for i in range(5):
        filling = torch.full_like(b.images[i], float(b.images[i].double().mean()))
        order = textbook.order_of(b.maps[i].abs().numpy(), b.ids[i])
        goal = ask(i, b.images[i])
        for step in range(1, steps + 1):
            kept = step * 16 // steps
            image = textbook.without(b.images[i], order[kept:], filling, (4, 4))
            if abs(goal - ask(i, image)) < tolerance:
                break
        expected.append(kept / 16)
    return b.score("effective_complexity", output=output, steps=steps, tolerance=tolerance), doubles(expected)


def non_sensitivity(output: str, zero: float, tolerance: float) -> Pair:
    b, expected = batch(), []
    for i in range(5):
        sizes = [abs(value) for value in b.maps[i].double().flatten().tolist()]
        losses = drops(i, tuple((patch,) for patch in range(16)), output == "log_probability")
        unused = {p for p in range(16) if sizes[p] <= zero * max(sizes)}
        idle = {p for p in range(16) if abs(losses[p]) <= tolerance}
        expected.append(len(unused ^ idle) / 16)
    return b.score("non_sensitivity", output=output, zero=zero, tolerance=tolerance), doubles(expected)


def nonzero(zero: float) -> Pair:
    rows = batch().maps.abs().double().flatten(1).tolist()
    expected = [len([x for x in row if x > zero * max(row)]) / len(row) for row in rows]
    return batch().score("nonzero_share", zero=zero), doubles(expected)


def gini(values: list[float]) -> float:
    return sum(abs(x - y) for x in values for y in values) / (2 * len(values) * sum(values))


def entropy(values: list[float]) -> float:
    return -sum(x / sum(values) * math.log(x / sum(values)) for x in values if x > 0)


def complexity(name: str, score: Callable[[list[float]], float]) -> Pair:
    return batch().score(name), doubles([score(row) for row in batch().maps.abs().double().flatten(1).tolist()])


BANK, SETS = "textbook loop, scipy.stats", "set by set, float64"
OUTPUTS = {"probability": "p", "log_probability": "log p"}
TWELFTHS = {"size": 0.2, "count": 12}

ORACLES = [
    Oracle(
        "saco",
        "figure of Wu et al. 2024",
        "two examples of ten groups, read from the figure; three digits",
        5e-4,
        saco_figure,
    ),
    Oracle("saco_rank", "kendalltau", "package scipy; given groups without ties", 1e-9, saco_kendall),
    *[
        Oracle(name, "textbook loop", f"pair by pair, float64; {plural}", 1e-5, partial(saco_groups, name, level))
        for name in ("saco", "saco_rank")
        for level, plural in (("patch", "patches"), ("pixel", "pixels"))
    ],
    *[
        Oracle(
            name,
            "textbook loop",
            "pair by pair, float64; patches, sums",
            1e-5,
            partial(saco_groups, name, "patch", "sum"),
        )
        for name in ("saco", "saco_rank")
    ],
    *[
        Oracle(
            name,
            BANK,
            f"{SETS}; our random sets, {what}{also}",
            tolerance,
            partial(response_bank, name, partial(random_sets, size=0.2), score, **TWELFTHS, output=output, **settings),
        )
        for output, what in OUTPUTS.items()
        for name, score, tolerance, also, settings in (
            ("faithfulness_correlation", pearson, 2e-4, "", {}),
            ("mu_fidelity", spearman, 1e-9, "", {}),
            ("infidelity", partial(infidelity, True), 1e-5, "; one fitted factor", {"scaled": True}),
            ("infidelity", partial(infidelity, False), 1e-6, "; no factor", {"scaled": False}),
        )
    ],
    *[
        Oracle(
            "sensitivity_n",
            BANK,
            f"{SETS}; our random sets of 2 and 8 patches, {what}",
            2e-4,
            partial(sensitivity_n, output=output),
        )
        for output, what in OUTPUTS.items()
    ],
    Oracle(
        "faithfulness_estimate",
        BANK,
        f"{SETS}; each patch",
        2e-4,
        partial(response_bank, "faithfulness_estimate", singles, pearson),
    ),
    Oracle(
        "single_deletion_score",
        BANK,
        f"{SETS}; 2 × 2 cells",
        1e-9,
        partial(response_bank, "single_deletion_score", cells, spearman, cells=2),
    ),
    Oracle("monotonicity_correlation", BANK, f"{SETS}; each patch", 1e-9, partial(monotonicity, 1)),
    Oracle("monotonicity_correlation", BANK, f"{SETS}; our noise, two draws", 1e-9, partial(monotonicity, 2)),
    *[
        Oracle(name, "textbook loop", f"image by image, float64; fill {fill}", 2e-6, partial(soft_mask, name, fill))
        for name in SOFT
        for fill in ("black", "image_mean")
    ],
    *[
        Oracle(
            "completeness_error", "textbook loop", f"image by image, float64; {what}", 1e-6, partial(completeness, o)
        )
        for o, what in ({**OUTPUTS, "logit": "logit"}).items()
    ],
    *[
        Oracle(
            "effective_complexity",
            "textbook loop",
            f"patch by patch; {OUTPUTS[output]}, {steps} steps, ε = {tolerance:g}",
            1e-12,
            partial(effective_complexity, output, steps, tolerance),
        )
        for output, steps, tolerance in (
            ("probability", 16, 0.1),
            ("probability", 10, 0.03),
            ("log_probability", 16, 0.2),
        )
    ],
    *[
        Oracle(
            "non_sensitivity",
            "textbook loop",
            f"sets of patches; {OUTPUTS[output]}, ε = {zero:g}, {tolerance:g}",
            1e-12,
            partial(non_sensitivity, output, zero, tolerance),
        )
        for output, zero, tolerance in (("probability", 0.3, 0.02), ("log_probability", 0.1, 0.1))
    ],
    Oracle("nonzero_share", "textbook loop", "patch by patch; ε = 0.3", 1e-12, partial(nonzero, 0.3)),
    Oracle("sparsity_gini", "textbook loop", "pair by pair, float64", 1e-9, partial(complexity, "sparsity_gini", gini)),
    Oracle("entropy", "textbook loop", "patch by patch, float64", 1e-9, partial(complexity, "entropy", entropy)),
]

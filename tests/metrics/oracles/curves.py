"""Every curve metric by its definition, written as a loop over steps with one forward each."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from skimage.segmentation import slic

from tests.metrics import textbook
from tests.metrics.oracles.base import Oracle, Pair, batch, doubles
from vitfaith import rng

SEED = 5
CASES = (0, 3)


class Case:
    """One image with one map, and the curves that the definitions speak of."""

    def __init__(self, index: int) -> None:
        b = batch()
        self.vit, self.image, self.cells = b.classifier, b.images[index], b.maps[index].numpy()
        self.name = b.ids[index]
        self.target, self.label = int(b.targets[index]), int(b.labels[index])
        self.grey = torch.full_like(self.image, float(self.image.double().mean()))
        self.noise = rng.uniform(SEED, [b.ids[index]], "fill-noise", self.image.shape)[0]
        self.pixels = textbook.bilinear(self.cells, 16, 16)
        self.known: dict[tuple, list[np.ndarray]] = {}

    def run(
        self, counts: list[int], *, lerf: bool = False, level: str = "patch", filling: torch.Tensor | None = None
    ) -> list[np.ndarray]:
        fill = self.grey if filling is None else filling
        key = (tuple(counts), lerf, level, id(fill))
        if key not in self.known:  # definitions share curves, which need not be waited for twice
            order = textbook.order_of(self.cells if level == "patch" else self.pixels, self.name, SEED)
            order = order[::-1] if lerf else order
            grid = (4, 4) if level == "patch" else None
            self.known[key] = textbook.curve(self.vit, self.image, order, counts, fill, grid)
        return self.known[key]

    def p(self, *arguments: Any, **options: Any) -> list[float]:
        return [math.exp(d[self.target]) for d in self.run(*arguments, **options)]

    def nll(self, *arguments: Any, **options: Any) -> list[float]:
        return [-d[self.target] for d in self.run(*arguments, **options)]

    def hits(self, *arguments: Any, **options: Any) -> list[float]:
        return [float(np.argmax(d) == self.label) for d in self.run(*arguments, **options)]

    def kl(self, *arguments: Any, **options: Any) -> list[float]:
        clean = textbook.distribution(self.vit, self.image)
        return [
            sum(math.exp(a) * (a - b) for a, b in zip(clean, d, strict=True)) for d in self.run(*arguments, **options)
        ]


TEN = [i * 16 // 10 for i in range(11)]
SHARE = [count / 16 for count in TEN]
BINS = [1, 1, 2, 4, 8]  # ⌈1 %⌉, ⌈5 %⌉, ⌈10 %⌉, ⌈20 %⌉, ⌈50 %⌉ of 16
CHEFER = [i * 256 // 10 for i in range(10)]
MASK = [i * 256 // 28 for i in range(29)]
BLACK = torch.zeros(3, 16, 16)


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def drops(values: list[float]) -> list[float]:
    return [values[0] - value for value in values[1:]]


def unit(values: list[float]) -> float:
    return textbook.trapezoid(values, list(range(len(values))))


def insertion(case: Case) -> float:
    """Built the other way round: start from grey and put the most relevant patches back."""
    order = textbook.order_of(case.cells, case.name, SEED)
    points = []
    for kept in sorted({16 - count for count in TEN}):
        image = textbook.without(case.grey, order[:kept], case.image, (4, 4))
        points.append((kept / 16, math.exp(textbook.distribution(case.vit, image)[case.target])))
    return textbook.trapezoid([p for _, p in points], [share for share, _ in points])


def kept_only(case: Case) -> list[float]:
    order = textbook.order_of(case.cells, case.name, SEED)
    images = [case.image] + [textbook.without(case.grey, order[:count], case.image, (4, 4)) for count in BINS]
    return [math.exp(textbook.distribution(case.vit, image)[case.target]) for image in images]


def region_perturbation(case: Case) -> float:
    areas = [(slice(None), slice(y, y + 9), slice(x, x + 9)) for y in (0, 9) for x in (0, 9)]
    areas.sort(key=lambda area: case.pixels[area[1:]].mean(), reverse=True)
    image, values = case.image.clone(), [math.exp(textbook.distribution(case.vit, case.image)[case.target])]
    for area in areas:
        image[area] = case.noise[area]
        values.append(math.exp(textbook.distribution(case.vit, image)[case.target]))
    return sum(values[0] - value for value in values) / 5


def irof(case: Case) -> float:
    labels = slic(case.image.permute(1, 2, 0).numpy(), n_segments=100, start_label=0)
    names = sorted(set(labels.ravel().tolist()), key=lambda name: -case.pixels[labels == name].mean())
    colour = case.image.mean((1, 2))
    image, values = case.image.clone(), [math.exp(textbook.distribution(case.vit, case.image)[case.target])]
    for name in names:
        image[:, torch.from_numpy(labels == name)] = colour[:, None]
        values.append(math.exp(textbook.distribution(case.vit, image)[case.target]))
    assert len(names) > 5
    steps = [i / len(names) for i in range(len(values))]
    return 1 - textbook.trapezoid([value / values[0] for value in values], steps)


DEFINITIONS: dict[str, Callable[[Case], float]] = {
    "deletion_auc": lambda c: textbook.trapezoid(c.p(TEN), SHARE),
    "insertion_auc": insertion,
    "abpc": lambda c: textbook.trapezoid(c.p(TEN, lerf=True), SHARE) - textbook.trapezoid(c.p(TEN), SHARE),
    "aopc": lambda c: mean(drops(c.p(TEN))),
    "log_odds": lambda c: mean(drops(c.nll(TEN))),
    "comprehensiveness_saco": lambda c: mean(drops(c.p(TEN, lerf=True))),
    "morf_mean": lambda c: mean(c.p(TEN)[1:]),
    "lerf_mean": lambda c: mean(c.p(TEN, lerf=True)[1:]),
    "kl_auc_morf": lambda c: textbook.trapezoid(c.kl(TEN), SHARE),
    "kl_auc_lerf": lambda c: textbook.trapezoid(c.kl(TEN, lerf=True), SHARE),
    "accuracy_auc": lambda c: textbook.trapezoid(c.hits(TEN), SHARE),
    "comprehensiveness": lambda c: mean(drops(c.p([0, *BINS]))),
    "sufficiency": lambda c: mean(drops(kept_only(c))),
    "chefer_positive": lambda c: 10 * unit(c.hits(CHEFER, level="pixel", filling=BLACK)),
    "chefer_negative": lambda c: 10 * unit(c.hits(CHEFER, level="pixel", filling=BLACK, lerf=True)),
    "diffmask_positive_nll": lambda c: unit(c.nll(MASK, level="pixel", filling=c.noise)),
    "diffmask_negative_nll": lambda c: unit(c.nll(MASK, level="pixel", filling=c.noise, lerf=True)),
    "diffmask_positive_probability": lambda c: unit(c.p(MASK, level="pixel", filling=c.noise)),
    "diffmask_negative_probability": lambda c: unit(c.p(MASK, level="pixel", filling=c.noise, lerf=True)),
    "pixel_flipping": lambda c: mean(c.p(list(range(17)), filling=BLACK)[1:]),
    "region_perturbation": region_perturbation,
    "irof": irof,
}


@cache
def case(index: int) -> Case:
    return Case(index)


def definition(name: str) -> Pair:
    expected = doubles([DEFINITIONS[name](case(index)) for index in CASES])
    return batch().score(name, seed=SEED)[list(CASES)], expected


LOOP = "loop over steps, float64"
REMARKS = {"irof": f"{LOOP}; scikit-image's superpixels"}
TOLERANCES = {"comprehensiveness": 5e-5}
"""Its values, differences of probabilities, are a hundred times smaller than those."""

ORACLES = [
    Oracle(name, "textbook loop", REMARKS.get(name, LOOP), TOLERANCES.get(name, 5e-6), partial(definition, name))
    for name in DEFINITIONS
]

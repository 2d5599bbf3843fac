"""Every curve metric against its definition, written as a loop over steps with one forward each."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from skimage.segmentation import slic

import vitfaith.score.metrics  # noqa: F401
from tests.score import textbook
from vitfaith import rng
from vitfaith.score.evaluate import evaluate
from vitfaith.score.registry import METRICS

TARGETS = [0, 3, 1, 4, 3]
LABELS = [0, 2, 1, 4, 1]


class Case:
    """One image with one map, and the curves that the definitions speak of."""

    def __init__(self, vit, image: torch.Tensor, cells: np.ndarray, target: int, label: int, image_id: str) -> None:
        self.vit, self.image, self.cells, self.target, self.label = vit, image, cells, target, label
        self.grey = torch.full_like(image, float(image.double().mean()))
        self.noise = rng.uniform(5, [image_id], "fill-noise", image.shape)[0]
        self.pixels = textbook.bilinear(cells, 16, 16)
        self.known: dict[tuple, list[np.ndarray]] = {}

    def run(
        self, counts: list[int], *, lerf: bool = False, level: str = "patch", filling: torch.Tensor | None = None
    ) -> list[np.ndarray]:
        fill = self.grey if filling is None else filling
        key = (tuple(counts), lerf, level, id(fill))
        if key not in self.known:  # definitions share curves; the tests should not wait for them twice
            order = textbook.order_of(self.cells if level == "patch" else self.pixels)
            order = order[::-1] if lerf else order
            grid = (4, 4) if level == "patch" else None
            self.known[key] = textbook.curve(self.vit, self.image, order, counts, fill, grid)
        return self.known[key]

    def p(self, *arguments, **options) -> list[float]:
        return [math.exp(d[self.target]) for d in self.run(*arguments, **options)]

    def nll(self, *arguments, **options) -> list[float]:
        return [-d[self.target] for d in self.run(*arguments, **options)]

    def hits(self, *arguments, **options) -> list[float]:
        return [float(np.argmax(d) == self.label) for d in self.run(*arguments, **options)]

    def kl(self, *arguments, **options) -> list[float]:
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
    order = textbook.order_of(case.cells)
    points = []
    for kept in sorted({16 - count for count in TEN}):
        image = textbook.without(case.grey, order[:kept], case.image, (4, 4))
        points.append((kept / 16, math.exp(textbook.distribution(case.vit, image)[case.target])))
    return textbook.trapezoid([p for _, p in points], [share for share, _ in points])


def kept_only(case: Case) -> list[float]:
    order = textbook.order_of(case.cells)
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


@pytest.fixture(scope="module")
def results(vit, images, image_ids):
    maps = torch.randint(-512, 512, (5, 4, 4), generator=torch.Generator().manual_seed(11)) / 64
    metrics = {name: (name, METRICS[name].parameters()) for name in DEFINITIONS}
    targets, labels = torch.tensor(TARGETS), torch.tensor(LABELS)
    table = evaluate(vit, images, targets, image_ids, {"m": maps}, metrics, labels=labels, seed=5, batch_size=50).scores
    values = {(r["metric"], r["image_id"]): r["value"] for r in table.to_pylist()}
    cases = [Case(vit, images[i], maps[i].numpy(), TARGETS[i], LABELS[i], image_ids[i]) for i in (0, 3)]
    return values, cases


@pytest.mark.parametrize("name", DEFINITIONS)
def test_equals_its_definition(results, image_ids, name):
    values, cases = results
    for image_id, case in zip((image_ids[0], image_ids[3]), cases, strict=True):
        assert values[name, image_id] == pytest.approx(DEFINITIONS[name](case), rel=2e-5, abs=1e-6)


def test_definitions_cover_every_curve_metric():
    modules = {
        f"vitfaith.score.metrics.{name}" for name in ("curves", "eraser", "chefer", "diffmask", "region", "irof")
    }
    assert set(DEFINITIONS) == {entry.name for entry in METRICS if entry.module in modules}


def test_accuracy_can_refer_to_the_explained_class(vit, images, image_ids):
    maps = {"m": torch.randint(-512, 512, (5, 4, 4), generator=torch.Generator().manual_seed(11)) / 64}
    entry = METRICS["accuracy_auc"]
    with torch.no_grad():
        predicted = vit(images).argmax(1)
    by_target, by_label = (
        evaluate(
            vit, images, targets, image_ids, maps, {"a": ("accuracy_auc", entry.parameters(reference=r))}, labels=labels
        )
        for targets, labels, r in ((predicted, None, "target"), ((predicted + 1) % 5, predicted, "label"))
    )
    assert by_target.scores.column("value").equals(by_label.scores.column("value"))
    assert min(by_target.scores.column("value").to_pylist()) > 0, "the clean image is predicted correctly"


def test_log_odds_stay_finite_where_probabilities_vanish(vit, images, image_ids):
    class Sharp(type(vit)):
        def forward(self, images):
            return 1e4 * super().forward(images)

    sharp = Sharp(vit.backbone, [0.5] * 3, [0.25] * 3).eval()
    maps = {"m": torch.randint(-512, 512, (5, 4, 4), generator=torch.Generator().manual_seed(11)) / 64}
    metrics = {name: (name, METRICS[name].parameters()) for name in ("log_odds", "diffmask_positive_nll")}
    result = evaluate(sharp, images, torch.tensor(TARGETS), image_ids, maps, metrics).scores.to_pandas()
    assert np.isfinite(result.value).all()
    assert result[result.metric == "log_odds"].value.abs().max() <= 27.64

"""The small batch that is scored, and its scores as numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from tests.conftest import tiny_vit
from tests.metrics.textbook import distribution
from tests.oracle import Oracle, Pair
from vitfaith.metrics.evaluate import evaluate
from vitfaith.metrics.registry import METRICS
from vitfaith.models.classifier import Classifier

__all__ = ["Batch", "Oracle", "Pair", "batch", "doubles", "grey_batch"]


@dataclass(frozen=True)
class Batch:
    """Five images, one map each."""

    classifier: Classifier
    images: Tensor
    targets: Tensor
    ids: list[str]
    maps: Tensor
    labels: Tensor
    truth: Tensor

    def scores(self, name: str, maps: Tensor | None = None, seed: int = 0, **settings: Any) -> dict[str, Tensor]:
        """Variant → scores (B,) float64 of one metric; flagged rows would have nothing to compare."""
        chosen = {"m": METRICS.item(name, **settings)}
        frame = evaluate(
            self.classifier,
            self.images,
            self.targets,
            self.ids,
            {"m": self.maps if maps is None else maps},
            chosen,
            labels=self.labels,
            truth=self.truth,
            seed=seed,
            batch_size=64,
        ).scores.to_pandas()
        assert (frame.flag == "").all()
        table = frame.pivot(index="image_id", columns="variant", values="value").loc[self.ids]
        return {variant: torch.from_numpy(table[variant].to_numpy(copy=True)) for variant in table}

    def score(self, name: str, maps: Tensor | None = None, seed: int = 0, **settings: Any) -> Tensor:
        """The scores (B,) of a metric with a single variant."""
        (values,) = self.scores(name, maps, seed, **settings).values()
        return values

    def log_probability(self, index: int, image: Tensor) -> float:
        """Of the explained class of image ``index``, for ``image``."""
        return float(distribution(self.classifier, image)[int(self.targets[index])])

    def probability(self, index: int, image: Tensor) -> float:
        """The same without the logarithm."""
        return math.exp(self.log_probability(index, image))


@cache
def batch() -> Batch:
    """Five random images with exactly representable maps, and a rectangle each with an ignored line below it."""
    truth = torch.zeros(5, 16, 16, dtype=torch.int64)
    for i in range(5):
        truth[i, 2 : 6 + i, 1 + i : 9 + i] = 1
        truth[i, 6 + i, 1 + i : 9 + i] = -1
    return Batch(
        tiny_vit(),
        torch.rand(5, 3, 16, 16, generator=torch.Generator().manual_seed(1)),
        torch.tensor([0, 3, 1, 4, 3]),
        [f"image-{i}" for i in range(5)],
        torch.randint(-512, 512, (5, 4, 4), generator=torch.Generator().manual_seed(2)) / 64,
        torch.tensor([0, 2, 1, 4, 1]),
        truth,
    )


@cache
def grey_batch() -> Batch:
    """One channel: quantus perturbs the values of a colour pixel one by one."""
    b = batch()
    classifier = Classifier(tiny_vit(in_chans=1).backbone, [0.5], [0.25]).eval()
    return Batch(classifier, b.images.mean(1, keepdim=True), b.targets, b.ids, b.maps, b.labels, b.truth)


def doubles(values: Any) -> Tensor:
    """A float64 tensor of nested lists or of an array."""
    return torch.as_tensor(values, dtype=torch.float64)

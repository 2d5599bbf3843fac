"""What a comparison is, and the maps that are compared."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tests.attribute.zoo import batch
from vitfaith.attribute.explain import explain
from vitfaith.attribute.registry import EXPLAINERS
from vitfaith.models.classifier import Classifier

Pair = tuple[Tensor, Tensor]
"""Ours and the oracle's, of one shape."""


@dataclass(frozen=True)
class Oracle:
    """One comparison: of what, with what, what that is (for the table), to which relative error."""

    subject: str
    source: str
    remark: str
    tolerance: float
    pair: Callable[[], Pair]

    def errors(self) -> tuple[float, float]:
        """Largest absolute difference, and the same relative to the largest magnitude of the oracle's output."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # packages warn of their own settings
            found, expected = self.pair()
        assert found.shape == expected.shape
        expected = expected.detach()
        assert bool((expected.flatten() != expected.flatten()[0]).any()), "an oracle that answers nothing"
        absolute = float((found.to(expected) - expected).abs().max())
        return absolute, absolute / float(expected.abs().max())

    def error(self) -> float:
        """The relative one, which ``tolerance`` bounds."""
        return self.errors()[1]


def maps(classifier: Classifier, name: str, **parameters: Any) -> Tensor:
    """Maps (4, rows, columns) of one explainer on the model's batch."""
    images, targets, ids = batch(classifier)
    methods = {"it": (name, EXPLAINERS[name].parameters(**parameters))}
    return explain(classifier, images, targets, ids, methods, seed=0, batch_size=4)["it"]


def by_image(classifier: Classifier, slow: Callable[[Tensor, int, str], Tensor], count: int = 2) -> Tensor:
    """``slow(image, target, id)`` for the first images of the model's batch, stacked."""
    images, targets, ids = batch(classifier)
    return torch.stack([slow(images[i], int(targets[i]), ids[i]).detach() for i in range(count)])

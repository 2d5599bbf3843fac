"""The maps that are compared."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from tests.explainers.zoo import batch
from tests.oracle import Oracle, Pair
from vitfaith.explainers.explain import explain
from vitfaith.explainers.registry import EXPLAINERS
from vitfaith.models.classifier import Classifier

__all__ = ["Oracle", "Pair", "by_image", "maps"]


def maps(classifier: Classifier, name: str, **parameters: Any) -> Tensor:
    """Maps (4, rows, columns) of one explainer on the model's batch."""
    images, targets, ids = batch(classifier)
    methods = {"it": EXPLAINERS.item(name, **parameters)}
    return explain(classifier, images, targets, ids, methods, seed=0, batch_size=4)["it"]


def by_image(classifier: Classifier, slow: Callable[[Tensor, int, str], Tensor], count: int = 2) -> Tensor:
    """``slow(image, target, id)`` for the first images of the model's batch, stacked."""
    images, targets, ids = batch(classifier)
    return torch.stack([slow(images[i], int(targets[i]), ids[i]).detach() for i in range(count)])

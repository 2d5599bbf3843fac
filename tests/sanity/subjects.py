"""What a check is given, with explainers that can be worked out by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from vitfaith.models.classifier import Classifier
from vitfaith.sanity.answers import answers_of
from vitfaith.sanity.registry import Subject

Maps = Mapping[str, Tensor]


class Counted:
    """Gradient maps of the class, and a map of the image alone; counts the calls and keeps the classes asked for."""

    def __init__(self) -> None:
        self.classes: list[Tensor] = []

    def __call__(
        self, classifier: Classifier, images: Tensor, targets: Tensor, ids: Sequence[str], *, margin: float = 0.0
    ) -> Maps:
        """Method → maps (B, 4, 4)."""
        self.classes.append(targets)
        with torch.enable_grad():
            leaf = images.detach().clone().requires_grad_(True)
            (gradient,) = torch.autograd.grad(classifier(leaf).gather(1, targets[:, None]).sum(), leaf)
        pool = nn.functional.avg_pool2d
        return {"gradient": pool(gradient.sum(1), 4), "brightness": pool(images.mean(1), 4)}


def subject_of(
    classifier: Classifier,
    explain: Callable[[Classifier, Tensor, Tensor, Sequence[str]], Maps],
    images: Tensor,
    targets: Tensor,
    ids: Sequence[str],
    seed: int = 0,
) -> Subject:
    """A subject whose own maps are made by ``explain``."""
    maps = explain(classifier, images, targets, ids)
    return Subject(
        classifier, explain, images, targets, ids, maps, seed, lambda images: answers_of(classifier, images, 2)
    )

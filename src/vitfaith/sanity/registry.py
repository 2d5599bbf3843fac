"""The registry of sanity checks, and what a check is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from vitfaith.registry import Parameters, Registry

if TYPE_CHECKING:
    from torch import Tensor

    from vitfaith.models.classifier import Classifier
    from vitfaith.sanity.answers import Answers


class Explain(Protocol):
    """Explains images again."""

    def __call__(
        self, classifier: Classifier, images: Tensor, targets: Tensor, image_ids: Sequence[str], *, margin: float = ...
    ) -> Mapping[str, Tensor]:
        """Method → maps (B, rows, columns) of ``images`` (B, C, H, W) in [0, 1], which noise may leave by ``margin``."""
        ...


class Answer(Protocol):
    """Asks the classifier about images."""

    def __call__(self, images: Tensor) -> Answers:
        """Logits and representation of ``images`` (B, C, H, W); one forward pass per image."""
        ...


SANITY_CHECKS: Registry = Registry("sanity check")
"""Entries are ``function(subject, parameters) -> pa.Table`` with the columns of the schema SANITY but ``check``. The trait
``explanations`` says how many explanations of every image a check costs."""


@dataclass(frozen=True)
class Subject:
    """The images of a shard, their classifier, and a way to explain them again.

    Attributes:
        classifier: frozen model in evaluation mode; a check works on a copy where it changes weights.
        explain: makes the maps of all methods of a family, in one shared pass where they have one.
        images: (B, C, H, W) float32 in [0, 1].
        targets: (B,) int64, the explained classes.
        image_ids: B names; with ``seed`` they key every random number.
        maps: method → (B, rows, columns) float32, the maps of the images as they are.
        seed: the study's seed.
        answer: asks the classifier, in batches that fit.
    """

    classifier: Classifier
    explain: Explain
    images: Tensor
    targets: Tensor
    image_ids: Sequence[str]
    maps: Mapping[str, Tensor]
    seed: int
    answer: Answer


def check(
    name: str, *, citation: str, explanations: str, parameters: type[Parameters] = Parameters
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register ``function(subject, parameters)`` under ``name``."""
    return SANITY_CHECKS.register(name, parameters=parameters, citation=citation, explanations=explanations)

"""The registry of sanity checks, and the input of a check."""

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
        """Method → maps (B, rows, columns) of ``images`` (B, C, H, W) in [0, 1]; noise may leave this range by ``margin``."""
        ...


class Answer(Protocol):
    """Evaluates the classifier on images."""

    def __call__(self, images: Tensor) -> Answers:
        """Logits and representation of ``images`` (B, C, H, W); one forward pass per image."""
        ...


SANITY_CHECKS: Registry = Registry("sanity check")
"""Entries are ``function(subject, parameters) -> pa.Table`` with the columns of the schema SANITY except ``check``. The trait
``explanations`` is the number of explanations per image that a check costs."""


@dataclass(frozen=True)
class Subject:
    """The images of a shard, their classifier, and a way to explain them again.

    Attributes:
        classifier: frozen model in evaluation mode; a check that changes weights works on a copy.
        explain: makes the maps of all methods of a family, in one shared pass if the family has one.
        images: (B, C, H, W) float32 in [0, 1].
        targets: (B,) int64, the explained classes.
        image_ids: B names; with ``seed`` they key every random number.
        maps: method → (B, rows, columns) float32, the maps of the unchanged images.
        seed: the study's seed.
        answer: evaluates the classifier, in batches that fit into memory.
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

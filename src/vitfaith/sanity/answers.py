"""The classifier's logits for images, and its representation before the last layer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vitfaith.errors import InputError
from vitfaith.explainers.passes import masking
from vitfaith.lazy import torch
from vitfaith.models.memory import BatchSize, in_batches

if TYPE_CHECKING:
    from torch import Tensor

    from vitfaith.models.classifier import Classifier


@dataclass(frozen=True)
class Answers:
    """Logits and representations of B images, on the CPU.

    Attributes:
        logits: (B, K) float64.
        representation: (B, D) float64, input of the head's last layer; None if the model does not expose it.
    """

    logits: Tensor
    representation: Tensor | None


def answers_of(classifier: Classifier, images: Tensor, batch_size: int) -> Answers:
    """Logits and representations of ``images`` (B, C, H, W); one forward pass per image, without gradients.

    The representation is what timm's ``forward_head(features, pre_logits=True)`` returns.
    """

    def ask(start: int, stop: int) -> tuple[Tensor, Tensor | None]:
        with _representations(classifier.backbone) as kept:
            logits = masking.forward(classifier, images[start:stop])
        return logits.double().cpu(), kept[0].flatten(1).double().cpu() if kept else None

    parts = [part for _, part in in_batches(len(images), BatchSize(batch_size), ask)]
    shown = [representation for _, representation in parts if representation is not None]
    return Answers(torch.cat([logits for logits, _ in parts]), torch.cat(shown) if shown else None)


@contextmanager
def _representations(backbone: Any) -> Iterator[list[Tensor]]:
    """Inputs of the head in the forward passes within the block, one tensor per pass; empty for a model without such a head."""
    kept: list[Tensor] = []
    head = getattr(backbone, "forward_head", None)
    if head is None:
        yield kept
        return

    def watched(features: Tensor, pre_logits: bool = False) -> Tensor:
        kept.append(head(features, pre_logits=True).detach())
        found: Tensor = head(features, pre_logits=pre_logits)
        return found

    backbone.forward_head = watched
    try:
        yield kept
    finally:
        del backbone.forward_head


def representation_of(answers: Answers) -> Tensor:
    """The representation; raises :class:`InputError` if the model does not expose it."""
    if answers.representation is None:
        raise InputError(
            "relative_stability reads what the head's last layer reads, which timm models show by forward_head and this "
            "model does not; set of: [input, output]"
        )
    return answers.representation

"""A DiffMask: gates, placeholder, and the maps they give."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Generator, Tensor, nn

from vitfaith.errors import InputError
from vitfaith.explainers.diffmask.gates import Gates
from vitfaith.explainers.diffmask.hard_concrete import HardConcrete
from vitfaith.explainers.diffmask.states import blocks_of_vit, hidden_states, width_of
from vitfaith.models.classifier import Classifier

MapKind = Literal["expected", "official"]
"""E[Π z], the mask that training draws on average; or Π P(z > 0), as the released code shows it."""


class DiffMask(nn.Module):
    """The learned explainer of one model.

    Attributes:
        gates: the networks that read the model's states.
        placeholder: (D,), what a masked patch embedding becomes.
        distribution: of each gate.
    """

    def __init__(self, gates: Gates, placeholder: Tensor, distribution: HardConcrete) -> None:
        super().__init__()
        self.gates = gates
        self.placeholder = nn.Parameter(placeholder)
        self.distribution = distribution

    @property
    def class_specific(self) -> bool:
        """Whether masks depend on the explained class."""
        return self.gates.classes is not None

    def locations(self, states: Sequence[Tensor], targets: Tensor | None = None) -> Tensor:
        """u (B, G, P) float32 from the model's states, G tensors (B, P, D)."""
        located: Tensor = self.gates(states, targets)
        return located

    def map_of(self, locations: Tensor, kind: MapKind = "expected") -> Tensor:
        """Share kept of every patch, (B, P) float32 in (0, 1], the product over the gates taken in logs."""
        read = self.distribution.log_expected if kind == "expected" else self.distribution.log_positive
        return read(locations).sum(1).exp()

    @torch.no_grad()
    def explain(
        self, classifier: Classifier, images: Tensor, targets: Tensor | None = None, kind: MapKind = "expected"
    ) -> Tensor:
        """Maps (B, rows, columns) float32 in (0, 1] of ``images`` (B, C, H, W) in [0, 1]; one forward, no backward.

        Raises:
            InputError: the classifier has other blocks or another width than the gates, or no class was named.
        """
        check_fit(self, classifier)
        if self.class_specific and targets is None:
            raise InputError("this DiffMask explains classes; name one for each image in targets")
        with hidden_states(classifier) as states:
            classifier(images)
        return self.map_of(self.locations(states, targets), kind).unflatten(1, classifier.grid)


def check_fit(network: DiffMask, classifier: Classifier) -> None:
    """Raise :class:`InputError` unless the gates fit the blocks, width and classes of ``classifier``."""
    problem = misfit(
        {
            "gates": network.gates.count,
            "width": len(network.placeholder),
            "classes": 0 if network.gates.classes is None else len(network.gates.classes),
        },
        classifier,
    )
    if problem:
        raise InputError(f"this DiffMask {problem}; give the one that was trained for the model")


def misfit(shape: dict[str, int], classifier: Classifier) -> str:
    """The fault of ``shape`` (gates, width, classes) for ``classifier``; empty if it fits."""
    gates, width = len(blocks_of_vit(classifier)) + 2, width_of(classifier)
    if shape["gates"] != gates:
        return f"has {shape['gates']} gates, a model of {gates - 2} blocks needs {gates}"
    if shape["width"] != width:
        return f"reads tokens of width {shape['width']}, the model's have {width}"
    if shape["classes"] not in (0, classifier.num_classes):
        return f"knows {shape['classes']} classes, the model has {classifier.num_classes}"
    return ""


def new_diffmask(
    classifier: Classifier,
    *,
    distribution: HardConcrete,
    hidden: int | None = None,
    stretch: float = 15.0,
    beta: float = 8.0,
    class_specific: bool = False,
    generator: Generator | None = None,
) -> DiffMask:
    """An untrained DiffMask for ``classifier``, on its device: the placeholder is Xavier-normal, as in the release."""
    gates, width = len(blocks_of_vit(classifier)) + 2, width_of(classifier)
    made = Gates(
        gates,
        width,
        hidden or max(1, width // 4),
        stretch=stretch,
        beta=beta,
        classes=classifier.num_classes if class_specific else 0,
        generator=generator,
    )
    # Xavier of a 1 × 1 × D tensor: torch counts D inputs and D outputs.
    placeholder = torch.randn(width, generator=generator) * width**-0.5
    return DiffMask(made, placeholder, distribution).to(classifier.mean.device)


def start_beta(centred: Tensor, distribution: HardConcrete, stretch: float, share: float) -> float:
    """The β, the same for all gates, with which a mean ``share`` of the patches is kept after all gates.

    Args:
        centred: (B, G, P) from :meth:`Gates.centred`.
        share: in (0, 1).
    """
    low, high = -100.0, 100.0
    for _ in range(60):  # the share grows with β
        middle = (low + high) / 2
        kept = distribution.log_expected(stretch * centred + middle).sum(1).exp().mean()
        low, high = (middle, high) if float(kept) < share else (low, middle)
    return (low + high) / 2

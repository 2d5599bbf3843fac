"""Explanations that can be differentiated in the image: the registered explainers on a pass that keeps its graph."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from vitfaith.explainers.passes.capture import Capture
from vitfaith.explainers.passes.context import Context
from vitfaith.explainers.passes.shared_pass import differentiable_capture
from vitfaith.models.classifier import Classifier
from vitfaith.registry import Item


@dataclass
class _DifferentiableContext(Context):
    """A context whose shared pass keeps its graph."""

    @cached_property
    def passed(self) -> tuple[Capture, Tensor]:
        return differentiable_capture(self.classifier, self.images, self.targets, self.needs)

    @cached_property
    def capture(self) -> Capture:
        return self.passed[0]


class DifferentiableExplainer:
    """A registered one-pass explainer as a differentiable function of the images.

    Args:
        classifier: frozen, in evaluation mode.
        explainer: with its settings.
    """

    def __init__(self, classifier: Classifier, explainer: Item) -> None:
        self.classifier, self.explainer = classifier, explainer

    def __call__(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Maps (B, rows, columns) of ``targets`` (B,) and logits (B, K), both with their graph to ``images``."""
        context = _DifferentiableContext(
            self.classifier, images, targets, [""] * len(images), needs=self.explainer.traits["needs"]
        )
        maps: Tensor = self.explainer.implementation(context, self.explainer.parameters)
        return maps.float(), context.passed[1]

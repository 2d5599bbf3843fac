"""Explanations that can be differentiated in the image: the registered explainers on a pass that keeps its graph."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from vitfaith.attribute.capture import Capture
from vitfaith.attribute.context import Context
from vitfaith.attribute.readout import readout_rows
from vitfaith.attribute.recorder import Recorder
from vitfaith.models.classifier import Classifier
from vitfaith.registry import Entry, Parameters


def differentiable_capture(
    classifier: Classifier, images: Tensor, targets: Tensor, needs: Iterable[str]
) -> tuple[Capture, Tensor]:
    """The shared pass of the one-pass explainers, with the autograd graph from ``images`` to all it keeps.

    Gradients of the class logit are kept with their own graph, so that a map made of them can be differentiated once
    more. Fused attention has no second derivative; where one is needed, attention runs as its plain formula.

    Args:
        images: (B, C, H, W) in [0, 1] that require gradients.
        needs: as declared by the explainers; ``layer_scores`` is not supported.

    Returns:
        The capture, and the logits (B, K) float32 with their graph.
    """
    kept = frozenset(needs)
    second_order = bool(kept & {"attention_gradient", "hidden_gradient", "input_gradient"})
    blocks: list[nn.Module] = list(getattr(classifier.backbone, "blocks", []))
    recorder = Recorder(blocks, attention=True)
    with recorder, sdpa_kernel(SDPBackend.MATH) if second_order else nullcontext():
        logits = classifier(images.to(classifier.mean.dtype)).float()
    calls = recorder.calls
    wanted: dict[str, list[Tensor]] = {}
    if "attention_gradient" in kept:
        wanted["attention_gradient"] = [call.output for call in calls]
    if "hidden_gradient" in kept:
        wanted["hidden_gradient"] = recorder.hidden
        if recorder.norm1 is not None:
            wanted["features_gradient"] = [recorder.norm1]
    if "input_gradient" in kept:
        wanted["input_gradient"] = [images]
    gradients: dict[str, list[Tensor]] = {}
    if wanted:
        score = logits.gather(1, targets[:, None]).sum()
        found = iter(torch.autograd.grad(score, [t for group in wanted.values() for t in group], create_graph=True))
        gradients = {name: [next(found) for _ in group] for name, group in wanted.items()}
    capture = Capture(
        logits=logits,
        targets=targets,
        blocks=blocks,
        grid=classifier.grid,
        prefix_tokens=classifier.prefix_tokens,
        readout=readout_rows(classifier.backbone),
        kept=kept,
        calls=calls,
        hidden_states=recorder.hidden,
        features_state=recorder.norm1,
        gradients=gradients,
    )
    return capture, logits


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
        entry: the explainer's registration.
        parameters: its settings.
    """

    def __init__(self, classifier: Classifier, entry: Entry, parameters: Parameters) -> None:
        self.classifier, self.entry, self.parameters = classifier, entry, parameters

    def __call__(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Maps (B, rows, columns) of ``targets`` (B,) and logits (B, K), both with their graph to ``images``."""
        context = _DifferentiableContext(
            self.classifier, images, targets, [""] * len(images), needs=self.entry.traits["needs"]
        )
        maps: Tensor = self.entry.implementation(context, self.parameters)
        return maps.float(), context.passed[1]

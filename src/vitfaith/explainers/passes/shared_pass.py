"""The shared pass: one forward and one backward of an unmodified timm ViT, for every explainer that needs no more."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from vitfaith.errors import InputError
from vitfaith.explainers.passes.capture import MEMORY, PART, Capture, Need
from vitfaith.explainers.passes.layer_scores import layer_score_gradients
from vitfaith.explainers.passes.readout import blocks_of, readout_rows
from vitfaith.explainers.passes.recorder import AttentionCall, Recorder
from vitfaith.explainers.passes.refusal import INSIDE
from vitfaith.models.classifier import Classifier
from vitfaith.models.fast.altered import is_same
from vitfaith.models.fast.linear import quick_linear_layers
from vitfaith.models.memory import spare_memory
from vitfaith.models.pixels import check_finite

ATTENTION_NEEDS = frozenset({"attention", "attention_gradient", "attention_scores", "value", "layer_scores"})
BLOCK_NEEDS = ATTENTION_NEEDS | {"hidden", "hidden_gradient"}
GRADIENT_NEEDS = frozenset({"attention_gradient", "features_gradient", "hidden_gradient", "input_gradient"})

Score = Callable[[Tensor, Tensor], Tensor]
"""``score(logits (B, K), targets (B,)) -> (B,)``: the number that gradients are of; entry i depends on row i alone."""


def class_logit(logits: Tensor, targets: Tensor) -> Tensor:
    """The logit of the explained class, (B,)."""
    return logits.gather(1, targets[:, None])[:, 0]


def run_capture(
    classifier: Classifier, images: Tensor, targets: Tensor, needs: Iterable[Need], score: Score = class_logit
) -> Capture:
    """Run the shared pass and keep what ``needs`` names.

    Costs one forward pass of the batch, and one backward pass if a gradient is needed. ``layer_scores`` adds for each
    block a partial backward through the head and the block's MLP and projection, which stops at that block's attention.
    Works inside ``no_grad`` and ``inference_mode``; model, mode and ``requires_grad`` flags stay as they are, and the
    hooks are gone afterwards.

    Args:
        classifier: in evaluation mode.
        images: (B, C, H, W) float, normally in [0, 1]; noisy copies may leave the range.
        targets: (B,) int64.
        needs: as declared by the explainers.
        score: what gradients are of, in place of the class logit.

    Raises:
        InputError: images contain NaN or have another shape, a target is no class of the model, or the model lacks
            the transformer blocks that a need asks for.
    """
    kept = frozenset(needs)
    _check(classifier, images, targets)
    with torch.inference_mode(False), torch.set_grad_enabled(bool(kept & (GRADIENT_NEEDS | {"layer_scores"}))):
        images = (images.clone() if images.is_inference() else images).detach().float()
        targets = targets.clone() if targets.is_inference() else targets
        if torch.is_grad_enabled():
            images.requires_grad_()
        capture = _run(classifier, images, targets, kept, score, differentiable=False)
    return capture


def differentiable_capture(
    classifier: Classifier, images: Tensor, targets: Tensor, needs: Iterable[Need], score: Score = class_logit
) -> tuple[Capture, Tensor]:
    """The same pass with the autograd graph from ``images`` to all it keeps, for attacks and second derivatives.

    Gradients of the class logit are kept with their own graph, so that a map made of them can be differentiated once
    more. Fused attention has no second derivative; where one is needed, attention runs as its plain formula.

    Args:
        images: (B, C, H, W) in [0, 1] that require gradients.
        needs: as declared by the explainers.
        score: what gradients are of, in place of the class logit.

    Returns:
        The capture, and the logits (B, K) float32 with their graph.

    Raises:
        InputError: ``layer_scores`` is needed, whose partial backwards keep no graph.
    """
    kept = frozenset(needs)
    if "layer_scores" in kept:
        raise InputError("legrad cannot be differentiated: its partial backward passes keep no graph; take another one")
    with sdpa_kernel(SDPBackend.MATH) if kept & GRADIENT_NEEDS else nullcontext():
        capture = _run(classifier, images, targets, kept, score, differentiable=True)
    return capture, capture.logits


def _run(
    classifier: Classifier,
    images: Tensor,
    targets: Tensor,
    kept: frozenset[str],
    score: Score,
    *,
    differentiable: bool,
) -> Capture:
    """Both passes, with their graph or without."""
    blocks = _blocks(classifier) if kept & BLOCK_NEEDS else []
    with (
        Recorder(blocks, attention=bool(kept & ATTENTION_NEEDS), branches="layer_scores" in kept) as recorder,
        quick_linear_layers(classifier),  # after the recorder's hooks, which it must not bypass
    ):
        logits = classifier(images).float()
    calls = recorder.calls if kept & ATTENTION_NEEDS else []
    check_calls(calls, blocks, classifier)
    gradients = {}
    if "layer_scores" in kept:
        with quick_linear_layers(classifier):
            gradients["layer_scores"] = layer_score_gradients(classifier.backbone, recorder, targets)
    gradients |= _gradients(recorder, images, kept, score(logits, targets), differentiable=differentiable)

    def left(tensor: Tensor) -> Tensor:
        return tensor if differentiable else tensor.detach()

    return Capture(
        logits=left(logits),
        targets=targets,
        blocks=blocks,
        grid=classifier.grid,
        prefix_tokens=classifier.prefix_tokens,
        readout=readout_rows(classifier.backbone),
        kept=kept,
        memory=max(PART, spare_memory(logits.device) // 4) if logits.is_cuda else MEMORY,
        calls=calls if differentiable else [call.detach() for call in calls],
        hidden_states=[left(state) for state in recorder.hidden] if "hidden" in kept else [],
        attended=[left(state) for state in recorder.attended] if "value" in kept else [],
        features_state=left(recorder.features) if "hidden" in kept and recorder.features is not None else None,
        normed_after=frozenset(recorder.normed_after),
        gradients=gradients,
    )


def _gradients(
    recorder: Recorder, images: Tensor, kept: frozenset[str], scores: Tensor, *, differentiable: bool
) -> dict[str, list[Tensor]]:
    """Gradients of the summed ``scores`` (B,): each image's score depends on that image alone."""
    wanted: dict[str, list[Tensor]] = {}
    if "attention_gradient" in kept:
        wanted["attention_gradient"] = [call.output for call in recorder.calls]
    if "hidden_gradient" in kept:
        wanted["hidden_gradient"] = recorder.hidden
    if kept & {"features_gradient", "hidden_gradient"} and recorder.features is not None:
        wanted["features_gradient"] = [recorder.features]
    if "input_gradient" in kept:
        wanted["input_gradient"] = [images]
    if not wanted:
        return {}
    if not scores.requires_grad:
        raise InputError(
            "the model passes no gradient to its input (no_grad inside, or quantised layers); use explainers that perturb the "
            "input, such as occlusion or rise"
        )
    # Naming the inputs keeps the engine off the parameters, whatever their requires_grad says.
    flat = torch.autograd.grad(
        scores.sum(), [t for group in wanted.values() for t in group], create_graph=differentiable
    )
    found = iter(flat)
    return {name: [next(found) for _ in group] for name, group in wanted.items()}


def check_calls(calls: Sequence[AttentionCall], blocks: Sequence[nn.Module], classifier: Classifier) -> None:
    """Raise :class:`InputError` unless every block attends from all tokens of the model to all of them."""
    (rows, columns), prefix = classifier.grid, classifier.prefix_tokens
    for layer, call in enumerate(calls):
        seen = tuple(call.output.shape)
        if len(seen) != 4 or seen[2] != prefix + rows * columns:
            raise InputError(
                f"block {layer} ({type(blocks[layer]).__name__}) attends over {seen[-2]} positions (windows or channels), not over "
                f"{prefix} prefix tokens and {rows}×{columns} patches, so {INSIDE}"
            )


def _blocks(classifier: Classifier) -> list[nn.Module]:
    blocks = blocks_of(classifier.backbone)
    if blocks is None:
        raise InputError(
            f"model {type(classifier.backbone).__name__} has no sequence of transformer blocks, so {INSIDE}"
        )
    if is_same(blocks):
        raise InputError(f"model {type(classifier.backbone).__name__} uses one block at two depths, so {INSIDE}")
    return blocks


def _check(classifier: Classifier, images: Tensor, targets: Tensor) -> None:
    if classifier.training:
        raise InputError("the classifier is in training mode; call freeze(classifier) before explaining")
    if images.ndim != 4 or tuple(images.shape[1:]) != classifier.input_shape:
        raise InputError(
            f"images of shape {tuple(images.shape)} do not fit the model, which takes (B, C, H, W) with "
            f"(C, H, W) = {classifier.input_shape}"
        )
    check_finite(images)
    classifier.check_targets(targets, len(images))

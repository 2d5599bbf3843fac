"""One forward and one backward pass of an unmodified timm ViT, from which all one-pass explainers read.

Fused attention stays on. Attention is rebuilt as A = softmax(s·QKᵀ + bias) from the queries and keys that the fused
call received, its gradient as ∂y/∂A = G·Vᵀ, where G is the gradient of the class logit y at the output of that call:
no N×N matrix enters the autograd graph, and with large models only the layer that is asked for exists at a time. Rotary embeddings,
position biases, query and key norms, gates and norms before the projection are all exact, because they act before or
after the call itself. Models with unfused attention are read at their softmax instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from vitfaith.attribute.readout import class_logits_of_tokens, readout_rows
from vitfaith.attribute.recorder import AttentionCall, Recorder
from vitfaith.attribute.registry import Need
from vitfaith.errors import InputError
from vitfaith.models.classifier import Classifier

ATTENTION_NEEDS = frozenset({"attention", "attention_gradient", "attention_scores", "value", "layer_scores"})
BLOCK_NEEDS = ATTENTION_NEEDS | {"hidden", "hidden_gradient"}
GRADIENT_NEEDS = frozenset({"attention_gradient", "hidden_gradient", "input_gradient"})
ALL_ROWS = slice(None)

MEMORY = 2**28
"""Bytes up to which full matrices of all layers together stay in memory, for the next explainer that asks."""


@dataclass
class Capture:
    """What a shared pass left behind. Layers count from 0; negative ones from the end. All tensors come as float32.

    Attributes:
        logits: (B, K).
        targets: (B,) int64, the class whose logit was differentiated.
        blocks: the model's transformer blocks; empty for models without.
        grid: rows and columns of the patch grid.
        prefix_tokens: tokens before the patches.
        readout: rows of the token axis that the head reads: the class token, class and distillation token, or all
            patches for a model that pools them. Class-token methods take the mean over these rows, which for a
            class token is its row.
    """

    logits: Tensor
    targets: Tensor
    blocks: Sequence[nn.Module]
    grid: tuple[int, int]
    prefix_tokens: int
    readout: slice
    kept: frozenset[str]
    calls: list[AttentionCall] = field(default_factory=list)
    hidden_states: list[Tensor] = field(default_factory=list)
    features_state: Tensor | None = None
    gradients: dict[str, list[Tensor]] = field(default_factory=dict)
    matrices: dict[tuple[str, int], Tensor] = field(default_factory=dict)

    @property
    def depth(self) -> int:
        """Number of transformer blocks."""
        return len(self.blocks)

    @property
    def tokens(self) -> int:
        """Number of tokens N, prefix included."""
        return self.prefix_tokens + self.grid[0] * self.grid[1]

    def attention(self, layer: int, rows: slice = ALL_ROWS) -> Tensor:
        """Post-softmax attention A_l, (B, H, N, N) or (B, H, len(rows), N); rows sum to 1."""
        self._require("attention")
        call = self._call(layer)
        return self._matrix("attention", layer, rows, call.softmax)

    def attention_scores(self, layer: int, rows: slice = ALL_ROWS) -> Tensor:
        """Scaled, biased scores before the softmax, (B, H, N, N) or (B, H, len(rows), N)."""
        self._require("attention_scores")
        return self._call(layer).pre_softmax(rows)

    def attention_gradient(self, layer: int, rows: slice = ALL_ROWS) -> Tensor:
        """Gradient of the class logit at A_l, (B, H, N, N) or (B, H, len(rows), N)."""
        self._require("attention_gradient")
        return self._through_values("attention_gradient", layer, rows)

    def layer_score_gradient(self, layer: int, rows: slice = ALL_ROWS) -> Tensor:
        """Gradient at A_l of the class logit that the head gives the mean token after block l; shapes as above."""
        self._require("layer_scores")
        return self._through_values("layer_scores", layer, rows)

    def value(self, layer: int) -> Tensor:
        """Values V_l, (B, H, N, d)."""
        self._require("value")
        return self._call(layer).value.float()

    def hidden(self, layer: int) -> Tensor:
        """Input of block ``layer``, (B, N, D); ``layer = depth`` is the output of the last block."""
        self._require("hidden")
        return self.hidden_states[self._state(layer)].float()

    def hidden_gradient(self, layer: int) -> Tensor:
        """Gradient of the class logit at :meth:`hidden`, (B, N, D)."""
        self._require("hidden_gradient")
        return self.gradients["hidden_gradient"][self._state(layer)].float()

    @property
    def features(self) -> Tensor:
        """Patch tokens (B, P, D) after the first norm of the last block, where token CAMs look."""
        self._require("hidden")
        if self.features_state is None:
            raise InputError(f"block {type(self.blocks[-1]).__name__} has no first norm (norm1), which token CAMs read")
        return self.features_state[:, self.prefix_tokens :].float()

    @property
    def features_gradient(self) -> Tensor:
        """Gradient of the class logit at :attr:`features`, (B, P, D)."""
        self._require("hidden_gradient")
        return self.gradients["features_gradient"][0][:, self.prefix_tokens :].float()

    @property
    def input_gradient(self) -> Tensor:
        """Gradient of the class logit at the images in [0, 1], (B, C, H, W)."""
        self._require("input_gradient")
        return self.gradients["input_gradient"][0].float()

    def to_grid(self, tokens: Tensor) -> Tensor:
        """Values of all N tokens (…, N), or of the P patch tokens (…, P), as maps (…, rows, columns)."""
        rows, columns = self.grid
        patches = rows * columns
        if tokens.shape[-1] not in (patches, patches + self.prefix_tokens):
            raise InputError(
                f"{tokens.shape[-1]} tokens do not fit {self.prefix_tokens} prefix tokens and a {rows}×{columns} grid; "
                "explainers need a model whose patches keep their grid"
            )
        return tokens[..., -patches:].unflatten(-1, self.grid)

    def read(self, rows: Tensor) -> Tensor:
        """Mean over the read-out rows: (…, len(readout), N), taken with ``rows=capture.readout``, to (…, N)."""
        return rows.mean(-2)

    def _require(self, need: str) -> None:
        if need not in self.kept:
            raise InputError(f"the shared pass kept no '{need}'; add it to the explainer's needs")

    def _call(self, layer: int) -> AttentionCall:
        if not -self.depth <= layer < self.depth:
            raise InputError(f"layer {layer} does not exist; the model has blocks 0 to {self.depth - 1}")
        return self.calls[layer]

    def _state(self, layer: int) -> int:
        if not -self.depth - 1 <= layer <= self.depth:
            raise InputError(f"hidden state {layer} does not exist; the model has 0 (first input) to {self.depth}")
        return layer

    def _through_values(self, name: str, layer: int, rows: slice) -> Tensor:
        call = self._call(layer)  # checks the layer
        outputs, values = self.gradients[name][layer], call.value.float().transpose(-2, -1)
        return self._matrix(name, layer, rows, lambda rows: outputs[:, :, rows].float() @ values)

    def _matrix(self, name: str, layer: int, rows: slice, make: Callable[[slice], Tensor]) -> Tensor:
        """``make(rows)``, or the kept full matrix; small models keep theirs, because several explainers read them."""
        key = (name, layer % self.depth)
        if key in self.matrices:
            return self.matrices[key][:, :, rows]
        found = make(rows)
        if rows == ALL_ROWS and 2 * self.depth * found.nbytes <= MEMORY and name != "layer_scores":
            self.matrices[key] = found
        return found


def run_capture(classifier: Classifier, images: Tensor, targets: Tensor, needs: Iterable[Need]) -> Capture:
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

    Raises:
        InputError: images contain NaN or have another shape, a target is no class of the model, or the model lacks
            the transformer blocks that a need asks for.
    """
    kept = frozenset(needs)
    _check(classifier, images, targets)
    blocks = _blocks(classifier) if kept & BLOCK_NEEDS else []
    with torch.inference_mode(False), torch.set_grad_enabled(bool(kept & (GRADIENT_NEEDS | {"layer_scores"}))):
        images = (images.clone() if images.is_inference() else images).detach().float()
        targets = targets.clone() if targets.is_inference() else targets
        if torch.is_grad_enabled():
            images.requires_grad_()
        recorder = Recorder(blocks, attention=bool(kept & ATTENTION_NEEDS))
        with recorder:
            logits = classifier(images.to(classifier.mean.dtype))
        calls = recorder.calls if kept & ATTENTION_NEEDS else []
        gradients = _backward(classifier, recorder, calls, images, logits, targets, kept)
    return Capture(
        logits=logits.detach().float(),
        targets=targets,
        blocks=blocks,
        grid=classifier.grid,
        prefix_tokens=classifier.prefix_tokens,
        readout=readout_rows(classifier.backbone),
        kept=kept,
        calls=[call.detach() for call in calls],
        hidden_states=[state.detach() for state in recorder.hidden] if "hidden" in kept else [],
        features_state=recorder.norm1.detach() if "hidden" in kept and recorder.norm1 is not None else None,
        gradients=gradients,
    )


def _backward(
    classifier: Classifier,
    recorder: Recorder,
    calls: list[AttentionCall],
    images: Tensor,
    logits: Tensor,
    targets: Tensor,
    kept: frozenset[str],
) -> dict[str, list[Tensor]]:
    """Gradients of the summed class logits: each image's logit depends on that image alone."""
    gradients: dict[str, list[Tensor]] = {}
    if "layer_scores" in kept:
        gradients["layer_scores"] = [
            torch.autograd.grad(
                _summed(class_logits_of_tokens(classifier.backbone, state), targets), call.output, retain_graph=True
            )[0]
            for state, call in zip(recorder.hidden[1:], calls, strict=True)
        ]
    wanted: dict[str, list[Tensor]] = {}
    if "attention_gradient" in kept:
        wanted["attention_gradient"] = [call.output for call in calls]
    if "hidden_gradient" in kept:
        wanted["hidden_gradient"] = recorder.hidden
        if recorder.norm1 is not None:
            wanted["features_gradient"] = [recorder.norm1]
    if "input_gradient" in kept:
        wanted["input_gradient"] = [images]
    if wanted:
        # Naming the inputs keeps the engine off the parameters, whatever their requires_grad says.
        flat = torch.autograd.grad(_summed(logits, targets), [t for group in wanted.values() for t in group])
        found = iter(flat)
        gradients |= {name: [next(found) for _ in group] for name, group in wanted.items()}
    return gradients


def _summed(logits: Tensor, targets: Tensor) -> Tensor:
    return logits.float().gather(1, targets[:, None]).sum()


def _blocks(classifier: Classifier) -> list[nn.Module]:
    blocks = getattr(classifier.backbone, "blocks", None)
    if not isinstance(blocks, nn.Sequential | nn.ModuleList) or len(blocks) == 0:
        raise InputError(
            f"model {type(classifier.backbone).__name__} has no sequence of transformer blocks, which explainers of "
            "attention and hidden states need; choose explainers that read gradients of the input, such as "
            "input_x_gradient, or that perturb it, such as rise"
        )
    return list(blocks)


def _check(classifier: Classifier, images: Tensor, targets: Tensor) -> None:
    if classifier.training:
        raise InputError("the classifier is in training mode; call freeze(classifier) before explaining")
    if images.ndim != 4 or tuple(images.shape[1:]) != classifier.input_shape:
        raise InputError(
            f"images of shape {tuple(images.shape)} do not fit the model, which takes (B, C, H, W) with "
            f"(C, H, W) = {classifier.input_shape}"
        )
    if targets.shape != images.shape[:1] or targets.dtype != torch.int64:
        raise InputError(
            f"targets are {targets.dtype} of shape {tuple(targets.shape)}; give one int64 class for each of "
            f"{len(images)} images"
        )
    if not bool(torch.isfinite(images).all()):
        raise InputError("images contain NaN or infinite values; repair or drop those files")
    if len(targets) and not 0 <= int(targets.min()) <= int(targets.max()) < classifier.num_classes:
        raise InputError(
            f"targets lie in [{int(targets.min())}, {int(targets.max())}], but the model has classes 0 to "
            f"{classifier.num_classes - 1}"
        )

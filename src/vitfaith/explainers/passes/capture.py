"""Recordings of the shared pass, which all one-pass explainers read.

Fused attention stays on. Attention is rebuilt as A = softmax(s·QKᵀ + bias) from the queries and keys that the fused
call received, its gradient as ∂y/∂A = G·Vᵀ, where G is the gradient of the class logit y at the output of that call:
no N×N matrix enters the autograd graph, and with large models only the layer that is asked for exists at a time. Rotary embeddings,
position biases, query and key norms, gates and norms before the projection are all exact, because they act before or
after the call itself. Models with unfused attention are read at their softmax instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor, nn

from vitfaith.errors import InputError
from vitfaith.explainers.passes.recorder import AttentionCall
from vitfaith.explainers.passes.refusal import INSIDE
from vitfaith.models.rows import matmul

Need = Literal[
    "attention",
    "attention_gradient",
    "attention_scores",
    "value",
    "hidden",
    "hidden_gradient",
    "features_gradient",
    "input_gradient",
    "layer_scores",
    "logits",
]
"""Optional recordings of the shared pass: per layer the attention matrix, its gradient, its scores before the softmax,
its values, and the gradient of the layer's own class score at it; the tokens and their gradients; the gradient at the
tokens of token CAMs alone, which ``hidden_gradient`` includes; the gradient at the pixels; the logits."""

ALL_ROWS = slice(None)

PART = 2**25
"""Bytes of full matrices that are read at a time: a few images, whose matrices stay in the processor's caches and are
not given back to the system in between. A GPU takes as many as :attr:`Capture.memory` holds."""
MEMORY = 2**28
"""Bytes up to which the matrices of all layers stay for the next explainer; above, each makes its own."""
KINDS = 2.5
"""Full matrices that stay, a layer: attention, its positive product with its gradient, and one mean over heads."""


@dataclass
class Capture:
    """Recordings of a shared pass. Layers count from 0; negative ones from the end. All tensors come as float32.

    Attributes:
        logits: (B, K).
        targets: (B,) int64, the class whose logit was differentiated.
        blocks: the model's transformer blocks; empty for models without.
        grid: rows and columns of the patch grid.
        prefix_tokens: tokens before the patches.
        readout: rows of the token axis that the head reads: the class token, class and distillation token, or all
            patches for a model that pools them. Class-token methods take the mean over these rows, which for a
            class token is its row.
        normed_after: the blocks whose first norm acts on the output of their attention (post-norm).
        kept: the needs that the pass was run for.
        memory: bytes that full matrices may take.
    """

    logits: Tensor
    targets: Tensor
    blocks: Sequence[nn.Module]
    grid: tuple[int, int]
    prefix_tokens: int
    readout: slice
    kept: frozenset[str]
    memory: int = MEMORY
    calls: list[AttentionCall] = field(default_factory=list)
    hidden_states: list[Tensor] = field(default_factory=list)
    attended: list[Tensor] = field(default_factory=list)
    features_state: Tensor | None = None
    normed_after: frozenset[int] = frozenset()
    gradients: dict[str, list[Tensor]] = field(default_factory=dict)
    matrices: dict[tuple[str, int], Tensor] = field(default_factory=dict)

    @property
    def depth(self) -> int:
        """Number of transformer blocks."""
        return len(self.blocks)

    def parts(self) -> list[slice]:
        """The images in groups, as many as are read at a time; no result depends on it."""
        count = len(self.logits)
        if not self.calls:
            return [slice(0, count)]
        _, heads, tokens, _ = self.calls[0].value.shape
        image = KINDS * self.depth * heads * tokens**2 * torch.float32.itemsize
        size = max(1, int((self.memory if self.logits.is_cuda else PART) / image))
        return [slice(start, min(start + size, count)) for start in range(0, count, size)]

    def of(self, images: slice) -> Capture:
        """The recordings of some of the images, without copies."""
        return replace(
            self,
            logits=self.logits[images],
            targets=self.targets[images],
            calls=[call.of(images) for call in self.calls],
            hidden_states=[state[images] for state in self.hidden_states],
            attended=[state[images] for state in self.attended],
            features_state=None if self.features_state is None else self.features_state[images],
            gradients={name: [each[images] for each in layers] for name, layers in self.gradients.items()},
            matrices={},
        )

    @property
    def tokens(self) -> int:
        """Number of tokens N, prefix included."""
        return self.prefix_tokens + self.grid[0] * self.grid[1]

    def attention(self, layer: int, rows: slice = ALL_ROWS) -> Tensor:
        """Post-softmax attention A_l, (B, H, N, N) or (B, H, len(rows), N); rows sum to 1."""
        self._require("attention")
        call, key = self._call(layer), ("attention", layer % self.depth)
        if key in self.matrices:
            return self.matrices[key][:, :, rows]
        found = call.softmax(rows)
        if rows == ALL_ROWS and self._keeps(found):
            self.matrices[key] = found
        return found

    def attention_scores(self, layer: int, rows: slice = ALL_ROWS) -> Tensor:
        """Scaled, biased scores before the softmax, (B, H, N, N) or (B, H, len(rows), N)."""
        self._require("attention_scores")
        return self._call(layer).pre_softmax(rows)

    def attention_gradient(self, layer: int, rows: slice = ALL_ROWS) -> Tensor:
        """Gradient of the class logit at A_l, (B, H, N, N) or (B, H, len(rows), N)."""
        self._require("attention_gradient")
        return self._through_values("attention_gradient", layer, rows)

    def layer_score_gradient(self, layer: int, rows: slice = ALL_ROWS) -> Tensor:
        """Gradient at A_l of the class logit that the head gives the mean token after block l; shapes as above.

        Raises:
            InputError: learned queries pool the tokens of this model, so no layer has a score at its own attention.
        """
        self._require("layer_scores")
        if not self.gradients["layer_scores"]:
            raise InputError(
                "this model pools by learned queries, whose attention legrad reads in place of the blocks'"
            )
        return self._through_values("layer_scores", layer, rows)

    def weighted_attention(self, layer: int) -> tuple[Tensor, Tensor]:
        """A_l ⊙ ∇A_l as its mean over heads (B, N, N), signed, and as its positive part (B, H, N, N)."""
        self._require("attention")
        self._require("attention_gradient")
        key = layer % self.depth
        if ("positive", key) in self.matrices:
            return self.matrices["mean", key], self.matrices["positive", key]
        attention, gradient = self.attention(layer), self.attention_gradient(layer)
        if gradient.requires_grad:  # in an attack, whose graph needs the factors
            product = attention * gradient
            mean, positive = product.mean(1), product.clamp_min(0)
        else:
            product = gradient.mul_(attention)
            mean, positive = product.mean(1), product.clamp_min_(0)
        if self._keeps(positive):
            self.matrices |= {("mean", key): mean, ("positive", key): positive}
        return mean, positive

    def attention_output(self, layer: int) -> Tensor:
        """Output (B, N, D) of the block's attention module, projected, before any layer scale and the residual sum.

        Raises:
            InputError: the block has no attention module ``attn``.
        """
        self._require("value")
        if not self.attended:
            raise InputError(f"block {type(self.blocks[0]).__name__} has no attention module attn")
        return self.attended[layer].float()

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

    def patch_tokens(self, states: Tensor) -> Tensor:
        """The patches (B, P, D) of ``states`` (B, N, D), of (B, P, D) without prefix, or of a grid (B, rows, columns, D).

        Raises:
            InputError: the states are of other tokens.
        """
        flat = states.flatten(1, 2) if states.ndim == 4 and states.shape[1:3] == self.grid else states
        patches = self.grid[0] * self.grid[1]
        if flat.ndim != 3 or flat.shape[1] not in (patches, self.tokens):
            raise InputError(
                f"a block works on tokens of shape {tuple(states.shape[1:])}, the grid has {self.grid[0]}×{self.grid[1]} "
                f"patches, so {INSIDE}"
            )
        return flat[:, -patches:]

    def patches(self, layer: int) -> Tensor:
        """The patches (B, P, D) of :meth:`hidden`, also where the class token joins them later, or they are a grid."""
        return self.patch_tokens(self.hidden(layer))

    @property
    def features(self) -> Tensor:
        """Patch tokens (B, P, D) as they enter the attention of the last block, where token CAMs look.

        The output of its first norm, or of the one norm that its attention and MLP share; the block's own input where it
        normalises behind its attention.
        """
        self._require("hidden")
        return self.patch_tokens(self._features()).float()

    @property
    def features_gradient(self) -> Tensor:
        """Gradient of the class logit at :attr:`features`, (B, P, D); of a post-norm block, through its attention alone."""
        self._require("hidden_gradient" if "hidden_gradient" in self.kept else "features_gradient")
        self._features()
        return self.patch_tokens(self.gradients["features_gradient"][0]).float()

    def features_curvature(self) -> Tensor:
        """H·X of the patches, (B, P, D): X all tokens of :attr:`features`, prefix included, H the Hessian of the score at them.

        Needs a pass that keeps its graph (``differentiable_capture``). 0 where the score is linear in the tokens.
        """
        self._require("features_gradient")
        state = self._features()
        gradient = self.gradients["features_gradient"][0]
        product = None
        if gradient.requires_grad:
            (product,) = torch.autograd.grad(gradient, state, state.detach(), allow_unused=True)
        return self.patch_tokens(torch.zeros_like(state) if product is None else product).float()

    def _features(self) -> Tensor:
        if self.features_state is None:
            raise InputError(
                f"block {type(self.blocks[-1]).__name__} has no single first norm (norm1) before its attention, whose output "
                "token CAMs and vit_cx read; choose explainers of gradients or perturbations"
            )
        return self.features_state

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

    def _keeps(self, matrix: Tensor) -> bool:
        """Whether full matrices of all layers may stay."""
        return KINDS * self.depth * matrix.nbytes <= self.memory

    def _through_values(self, name: str, layer: int, rows: slice) -> Tensor:
        """A new tensor each time: gradients at the rows of O = A·V, times Vᵀ."""
        call = self._call(layer)  # checks the layer
        return matmul(self.gradients[name][layer][:, :, rows].float(), call.value.float().transpose(-2, -1))

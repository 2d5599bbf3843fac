"""One forward and one backward pass that keep what the relevance rules need of an unmodified timm ViT."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from timm.layers.pos_embed_sincos import apply_rot_embed_cat
from timm.models.deit import VisionTransformerDistilled
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from vitfaith.explainers.passes import graph
from vitfaith.explainers.passes.watch import Watch
from vitfaith.explainers.relevance.forwards import fused
from vitfaith.models.classifier import Classifier
from vitfaith.models.rows import matmul

Rotation = Callable[[Tensor], Tensor]


@dataclass
class Product:
    """One attention: its factors as they entered the fused product, and one gradient.

    Attributes:
        queries: (B, H, M, d) after normalisation and rotation.
        keys: (B, G, N, d), likewise, G ≤ H groups of heads.
        values: (B, G, N, d).
        bias: what is added to the scaled scores, broadcastable to (B, H, M, N), or None.
        scale: factor of the scores.
        gradient: (B, H, M, d) of the explained logit at the product's output.
        rotation: the rotary embedding of queries and keys (B, ·, N, d), or None.
    """

    queries: Tensor
    keys: Tensor
    values: Tensor
    bias: Tensor | None
    scale: float
    gradient: Tensor
    rotation: Rotation | None = None

    def attention(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Attention (B, H, M, N) and its gradient; keys and values of each head (B, H, N, d)."""
        repeats = self.queries.shape[1] // self.keys.shape[1]
        keys, values = self.keys, self.values
        if repeats > 1:
            keys, values = keys.repeat_interleave(repeats, 1), values.repeat_interleave(repeats, 1)
        scores = matmul(self.queries * self.scale, keys.mT)
        scores = scores if self.bias is None else scores + self.bias
        return scores.softmax(-1), matmul(self.gradient, values.mT), keys, values

    def of_groups(self, heads: Tensor) -> Tensor:
        """(B, H, N, d) summed over the heads that share keys and values, (B, G, N, d)."""
        return heads if heads.shape[1] == self.keys.shape[1] else heads.unflatten(1, (self.keys.shape[1], -1)).sum(2)

    def rotated_back(self, tokens: Tensor) -> Tensor:
        """The transposed, hence inverse, rotation of (B, ·, N, d)."""
        if self.rotation is None:
            return tokens
        with graph.with_graph():
            start = torch.zeros_like(tokens).requires_grad_()
            (found,) = torch.autograd.grad(self.rotation(start), start, tokens)
        return found


@dataclass
class BlockRecord:
    """Values of one block, (B, N, ·): what entered its layers and what left its two branches, layer scale included."""

    skip: Tensor
    normed: Tensor
    product: Product
    projected: Tensor
    attention_branch: Tensor
    mlp_input: Tensor
    expanded: Tensor
    mlp_branch: Tensor

    @property
    def middle(self) -> Tensor:
        """The input of the second residual addition."""
        return self.skip + self.attention_branch


@dataclass
class PoolRecord:
    """Values of an attention pooling by one learned query: (B, 1, ·), and ``tokens`` (B, n, D), the last n that it reads."""

    tokens: Tensor
    product: Product
    projected: Tensor
    attended: Tensor
    mlp_input: Tensor
    expanded: Tensor
    mlp_branch: Tensor


@dataclass
class Record:
    """Values of one pass, without graph.

    Attributes:
        pixels: (B, C, H, W) normalised images as the backbone got them.
        patches: (B, P, D) output of the patch embedding.
        tokens: (B, N, D) tokens with positions, before an optional first normalisation.
        blocks: one entry per block.
        final: (B, N, D) tokens that the pooling reads.
        pool: the attention pooling, or None.
        heads: input (B, D) of each linear head with its share (B,) of the explained logit: the head's own logit
            divided by the number of heads.
    """

    pixels: Tensor
    patches: Tensor
    tokens: Tensor
    blocks: list[BlockRecord]
    final: Tensor
    pool: PoolRecord | None
    heads: list[tuple[nn.Linear, Tensor, Tensor]]


class _Products(TorchFunctionMode):
    """Keeps arguments and output of every fused attention, in the order of the pass."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[Sequence[Any], Mapping[str, Any], Tensor]] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if func is functional.scaled_dot_product_attention:
            self.seen.append((args, kwargs or {}, result))
        return result


def record(classifier: Classifier, backbone: Any, images: Tensor, targets: Tensor, dtype: torch.dtype) -> Record:
    """Run ``images`` (B, C, H, W) in [0, 1] forward and the logits of ``targets`` (B,) backward, once, in ``dtype``."""
    pool = getattr(backbone, "attn_pool", None)
    attentions = [block.attn for block in backbone.blocks] + ([] if pool is None else [pool])
    with graph.with_graph():
        leaves, targets = graph.ordinary(images).requires_grad_(), graph.ordinary(targets)
        with Watch[str]() as watch, fused(*attentions), _Products() as products:
            _install(watch, backbone)
            logits = graph.logits_in(dtype, classifier, leaves)
        caught = {name: value.detach() for name, value in watch.seen}
        watch.seen.clear()
        outputs = [output for *_, output in products.seen]
        gradients = torch.autograd.grad(graph.target_logits(logits, targets).sum(), outputs)
    made = [
        _product(attention, call, gradient.detach(), caught.pop(f"{i}.rope", None))
        for i, (attention, call, gradient) in enumerate(zip(attentions, products.seen, gradients, strict=True))
    ]
    patches = caught["patches"]
    names = ("head", "head_dist") if isinstance(backbone, VisionTransformerDistilled) else ("head",)
    shares = [graph.target_logits(caught[f"{name}.out"], targets) / len(names) for name in names]
    return Record(
        pixels=caught["pixels"],
        patches=patches.reshape(len(patches), -1, patches.shape[-1]),
        tokens=caught["tokens"],
        blocks=[
            BlockRecord(product=product, **_taken(caught, str(i)))
            for i, product in enumerate(made[: len(backbone.blocks)])
        ],
        final=caught["final"],
        pool=None if pool is None else PoolRecord(product=made[-1], **_taken(caught, "pool")),
        heads=[(getattr(backbone, n), caught[f"{n}.in"], share) for n, share in zip(names, shares, strict=True)],
    )


def _install(watch: Watch[str], backbone: Any) -> None:
    watch.entering(backbone.patch_embed.proj, "pixels")
    watch.leaving(backbone.patch_embed, "patches")
    watch.entering(backbone.norm_pre if hasattr(backbone, "norm_pre") else backbone.blocks[0], "tokens")
    for i, block in enumerate(backbone.blocks):
        watch.entering(block, f"{i}.skip")
        watch.entering(block.attn, f"{i}.normed")
        watch.argument(block.attn, "rope", f"{i}.rope")
        watch.entering(block.attn.proj, f"{i}.projected")
        watch.leaving(block.drop_path1, f"{i}.attention_branch")
        watch.entering(block.mlp, f"{i}.mlp_input")
        watch.entering(block.mlp.fc2, f"{i}.expanded")
        watch.leaving(block.drop_path2, f"{i}.mlp_branch")
    watch.leaving(backbone.norm, "final")
    pool = getattr(backbone, "attn_pool", None)
    if pool is not None:
        watch.entering(pool, "pool.tokens")
        watch.entering(pool.proj, "pool.projected")
        watch.leaving(pool.proj_drop, "pool.attended")
        watch.entering(pool.mlp, "pool.mlp_input")
        watch.entering(pool.mlp.fc2, "pool.expanded")
        watch.leaving(pool.mlp, "pool.mlp_branch")
    for name in ("head", "head_dist"):
        if hasattr(backbone, name):
            watch.entering(getattr(backbone, name), f"{name}.in")
            watch.leaving(getattr(backbone, name), f"{name}.out")


def _product(
    attention: Any, call: tuple[Sequence[Any], Mapping[str, Any], Tensor], gradient: Tensor, rope: Tensor | None
) -> Product:
    (queries, keys, values, *_), options, _ = call
    groups = getattr(attention, "num_kv_heads", attention.num_heads)
    repeats = attention.num_heads // groups
    keys, values = keys.detach()[:, ::repeats], values.detach()[:, ::repeats]
    bias = options.get("attn_mask")
    rotation = None if rope is None else _rotation(attention, rope)
    bias = None if bias is None else bias.detach()
    return Product(queries.detach(), keys, values, bias, attention.scale, gradient, rotation)


def _rotation(attention: Any, rope: Tensor) -> Rotation:
    """timm's rotary embedding of all but the prefix tokens."""

    def rotate(tokens: Tensor) -> Tensor:
        prefix = attention.num_prefix_tokens
        half = bool(getattr(attention, "rotate_half", False))
        return torch.cat([tokens[:, :, :prefix], apply_rot_embed_cat(tokens[:, :, prefix:], rope, half=half)], 2)

    return rotate


def _taken(caught: dict[str, Tensor], part: str) -> dict[str, Tensor]:
    """The values of one part of the network, which leave ``caught``."""
    names = [name for name in caught if name.startswith(f"{part}.")]
    return {name.partition(".")[2]: caught.pop(name) for name in names}


def split_heads(tokens: Tensor, size: int) -> Tensor:
    """(B, N, heads · size) → (B, heads, N, size)."""
    return tokens.unflatten(-1, (-1, size)).transpose(1, 2)


def join_heads(tokens: Tensor) -> Tensor:
    """(B, heads, N, D) → (B, N, heads · D)."""
    return tokens.transpose(1, 2).flatten(2)

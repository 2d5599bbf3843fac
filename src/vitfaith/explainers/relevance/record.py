"""One forward and one backward pass that keep what the relevance rules need of an unmodified timm ViT."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from timm.models.deit import VisionTransformerDistilled
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from vitfaith.explainers.passes import graph
from vitfaith.explainers.passes.watch import Watch
from vitfaith.models.classifier import Classifier


@dataclass
class BlockRecord:
    """Values of one block, (B, N, ·): what entered its layers, what left its two branches, and one gradient."""

    skip: Tensor
    normed: Tensor
    queries: Tensor
    keys: Tensor
    values: Tensor
    mixed: Tensor
    projected: Tensor
    attention_branch: Tensor
    middle: Tensor
    expanded: Tensor
    mlp_input: Tensor
    mlp_branch: Tensor
    mixed_gradient: Tensor


@dataclass
class Record:
    """Values of one pass, without graph.

    Attributes:
        pixels: (B, C, H, W) normalised images as the backbone got them.
        patches: (B, P, D) output of the patch embedding.
        tokens: (B, N, D) tokens with positions, before an optional first normalisation.
        blocks: one entry a block.
        final: (B, N, D) tokens that the pooling reads.
        heads: input (B, D) of each linear head with its share (B,) of the explained logit: the head's own logit
            divided by the number of heads.
    """

    pixels: Tensor
    patches: Tensor
    tokens: Tensor
    blocks: list[BlockRecord]
    final: Tensor
    heads: list[tuple[nn.Linear, Tensor, Tensor]]


def record(
    classifier: Classifier, backbone: VisionTransformer, images: Tensor, targets: Tensor, dtype: torch.dtype
) -> Record:
    """Run ``images`` (B, C, H, W) in [0, 1] forward and the logits of ``targets`` (B,) backward, once, in ``dtype``."""
    with graph.with_graph():
        leaves, targets = graph.ordinary(images).requires_grad_(), graph.ordinary(targets)
        with Watch[str]() as watch:
            _install(watch, backbone)
            logits = graph.logits_in(dtype, classifier, leaves)
        seen = dict(watch.seen)
        watch.seen.clear()
        contexts = [seen[f"{i}.mixed"] for i in range(len(backbone.blocks))]
        gradients = torch.autograd.grad(graph.target_logits(logits, targets).sum(), contexts)
    caught = {name: value.detach() for name, value in seen.items()}
    seen.clear()
    blocks = [
        _block_record(block, i, caught, gradient.detach())
        for i, (block, gradient) in enumerate(zip(backbone.blocks, gradients, strict=True))
    ]
    patches = caught["patches"]
    heads = []
    for name in ("head", "head_dist") if isinstance(backbone, VisionTransformerDistilled) else ("head",):
        heads.append(
            (getattr(backbone, name), caught[f"{name}.in"], graph.target_logits(caught[f"{name}.out"], targets))
        )
    return Record(
        pixels=caught["pixels"],
        patches=patches.reshape(len(patches), -1, patches.shape[-1]),
        tokens=caught["tokens"],
        blocks=blocks,
        final=caught["final"],
        heads=[(head, inputs, logit / len(heads)) for head, inputs, logit in heads],
    )


def _install(watch: Watch[str], backbone: VisionTransformer) -> None:
    watch.entering(backbone.patch_embed.proj, "pixels")
    watch.leaving(backbone.patch_embed, "patches")
    watch.entering(backbone.norm_pre, "tokens")
    block: Any
    for i, block in enumerate(backbone.blocks):
        entering: dict[str, nn.Module] = {
            "skip": block,
            "normed": block.attn.qkv,
            "mixed": block.attn.norm,
            "projected": block.attn.proj,
            "middle": block.norm2,
            "mlp_input": block.mlp.fc1,
            "expanded": block.mlp.fc2,
        }
        leaving: dict[str, nn.Module] = {
            "qkv": block.attn.qkv,
            "queries": block.attn.q_norm,
            "keys": block.attn.k_norm,
            "attention_branch": block.drop_path1,
            "mlp_branch": block.drop_path2,
        }
        _each(watch.entering, entering, i)
        _each(watch.leaving, leaving, i)
    watch.leaving(backbone.norm, "final")
    for name in ("head", "head_dist"):
        if hasattr(backbone, name):
            watch.entering(getattr(backbone, name), f"{name}.in")
            watch.leaving(getattr(backbone, name), f"{name}.out")


def _each(install: Callable[[nn.Module, str], None], modules: dict[str, nn.Module], index: int) -> None:
    for name, module in modules.items():
        install(module, f"{index}.{name}")


def _block_record(block: Any, index: int, caught: dict[str, Tensor], gradient: Tensor) -> BlockRecord:
    own = {name.split(".", 1)[1]: caught.pop(name) for name in list(caught) if name.startswith(f"{index}.")}
    heads = int(block.attn.num_heads)
    values = split_heads(own.pop("qkv").chunk(3, -1)[2], heads)
    return BlockRecord(values=values, mixed_gradient=gradient, **own)


def split_heads(tokens: Tensor, heads: int) -> Tensor:
    """(B, N, heads · D) → (B, heads, N, D)."""
    batch, count, _ = tokens.shape
    return tokens.reshape(batch, count, heads, -1).transpose(1, 2)


def join_heads(tokens: Tensor) -> Tensor:
    """(B, heads, N, D) → (B, N, heads · D)."""
    return tokens.transpose(1, 2).flatten(2)

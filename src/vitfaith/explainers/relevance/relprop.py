"""Layer-wise relevance propagation through a ViT, from one logit to the pixels (Chefer et al., CVPR 2021)."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from vitfaith.explainers.passes.readout import readout_rows
from vitfaith.explainers.relevance import rules
from vitfaith.explainers.relevance.record import BlockRecord, Record, join_heads, record, split_heads
from vitfaith.explainers.relevance.support import check_relprop
from vitfaith.models.classifier import Classifier

MEMORY = 2**32
"""Bytes that the record of one chunk of images may take, about; chunks do not change results."""


@dataclass
class Relevance:
    """Relevance of each image's target logit, in units of that logit's starting relevance 1.

    ``R`` is the relevance of an attention matrix, ``∇A`` the gradient of the target logit, ``E_h`` the mean over heads.
    Rollouts are read where the head reads: the row of the class token, or the mean row of the tokens that the head
    pools (a distilled model's two tokens, an average pool's patches). Entry l of a rollout is its product from block l
    on: ``row · Π_{k=L-1..l} (I + C_k)``; rows are not normalised, as in the paper (§3.2) and its code.

    Attributes:
        attribution: (B, L, N) rollouts of ``C = E_h (∇A ⊙ R)⁺``.
        rollout: (B, L, N) rollouts of ``C = E_h R⁺``.
        last: (B, N) row of ``E_h R⁺`` in the last block.
        tokens: (B, L, N) relevance of what entered block l, summed over channels.
        pixels: (B, H, W) relevance of the pixels, summed over channels.
    """

    attribution: Tensor
    rollout: Tensor
    last: Tensor
    tokens: Tensor
    pixels: Tensor


def propagate(
    classifier: Classifier,
    images: Tensor,
    targets: Tensor,
    *,
    dtype: torch.dtype = torch.float64,
    batch_size: int | None = None,
) -> Relevance:
    """Relevance of the logit of ``targets`` (B,) for ``images`` (B, C, H, W) in [0, 1].

    The model runs once forward and once backward per image; the rules then cost about five more forward passes.

    Rules: α = 1 for linear layers, the z-rule with halves for both products of attention, identity for normalisation,
    activation, softmax, layer scale and dropout, renormalised z-rule for residual sums and for the sum with the
    position embedding, zᴮ for pixels. Where Chefer et al. have no rule: a distilled model's mean of two heads is a
    residual sum, average pooling a linear layer. Relevance that reaches class, register and distillation tokens at
    the input is dropped.

    Args:
        dtype: precision of the whole computation; weights of another type are copied. The z-rule divides by sums that
            nearly cancel, so float32 is not enough for deep models: on a random ViT-Ti/16 at 224 px it is off by up to
            0.7 of a map's maximum, and a map then depends on the batch it was computed in.
        batch_size: most images at once (None: what fits :data:`MEMORY`).

    Raises:
        InputError: the model has no such rules, or a target is out of range.
    """
    backbone = check_relprop(classifier.backbone)
    tokens = classifier.grid[0] * classifier.grid[1] + backbone.num_prefix_tokens
    values = 20 * len(backbone.blocks) * tokens * backbone.embed_dim * dtype.itemsize
    chunk = max(1, min(MEMORY // values, batch_size or len(images)))
    parts = [
        _propagate(classifier, backbone, some, classes, dtype)
        for some, classes in zip(images.split(chunk), targets.split(chunk), strict=True)
    ]
    return Relevance(**{f.name: torch.cat([getattr(part, f.name) for part in parts]) for f in fields(Relevance)})


def _propagate(
    classifier: Classifier, backbone: VisionTransformer, images: Tensor, targets: Tensor, dtype: torch.dtype
) -> Relevance:
    kept = record(classifier, backbone, images, targets, dtype)
    with torch.no_grad(), torch.autocast(images.device.type, enabled=False):
        relevance = _through_head(backbone, kept, targets)
        start = torch.zeros_like(relevance[..., 0])
        read = start[:, readout_rows(backbone)]
        read.fill_(1 / read.shape[1])
        weighted, positive, tokens = [start], [start], []
        for block in reversed(backbone.blocks):
            relevance, attention, gradient = _through_block(block, kept.blocks.pop(), relevance)
            weighted.append(_step(weighted[-1], (gradient * attention).clamp(min=0).mean(1)))
            positive.append(_step(positive[-1], attention.clamp(min=0).mean(1)))
            tokens.append(relevance.sum(-1))
        pixels = _through_embedding(backbone, kept, relevance).sum(1)
    return Relevance(
        attribution=torch.stack(weighted[:0:-1], 1),
        rollout=torch.stack(positive[:0:-1], 1),
        last=positive[1] - start,
        tokens=torch.stack(tokens[::-1], 1),
        pixels=pixels[..., : images.shape[-2], : images.shape[-1]],
    )


def _step(row: Tensor, layer: Tensor) -> Tensor:
    """``row (I + layer)`` for (B, N) and (B, N, N)."""
    return row + (row[:, None] @ layer)[:, 0]


def _through_head(backbone: VisionTransformer, kept: Record, targets: Tensor) -> Tensor:
    """From 1 at the target's logit to the final tokens (B, N, D)."""
    ones = torch.ones(len(targets), 1, dtype=kept.final.dtype, device=kept.final.device)
    shares = [ones]
    if len(kept.heads) == 2:
        (_, _, first), (_, _, second) = kept.heads
        shares = list(rules.residual(first[:, None], second[:, None], ones))
    pooled = []
    for (head, inputs, _), share in zip(kept.heads, shares, strict=True):
        start = torch.zeros(len(targets), head.out_features, dtype=share.dtype, device=share.device)
        pooled.append(_linear(head, inputs, start.scatter(1, targets[:, None], share)))
    rows = readout_rows(backbone)
    relevance = torch.zeros_like(kept.final)
    if backbone.global_pool == "avg":
        relevance[:, rows] = rules.pooled_mean(kept.final[:, rows], pooled[0])
    else:
        relevance[:, rows] = torch.stack(pooled, 1)
    return relevance


def _through_block(block: Any, kept: BlockRecord, relevance: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Relevance of the block's input (B, N, D) and of its attention, with the attention's gradient (B, heads, N, N)."""
    skip, branch = rules.residual(kept.middle, kept.mlp_branch, relevance)
    expanded = _linear(block.mlp.fc2, kept.expanded, branch)
    relevance = rules.copy(kept.middle, skip, _linear(block.mlp.fc1, kept.mlp_input, expanded))

    skip, branch = rules.residual(kept.skip, kept.attention_branch, relevance)
    heads = int(block.attn.num_heads)
    mixed = split_heads(_linear(block.attn.proj, kept.projected, branch), heads)
    probabilities = (kept.queries * block.attn.scale @ kept.keys.mT).softmax(-1)
    attention, values = rules.product(probabilities, kept.values, mixed)
    queries, keys = rules.product(kept.queries, kept.keys.mT, attention)
    qkv = torch.cat([join_heads(queries), join_heads(keys.mT), join_heads(values)], -1)
    gradient = split_heads(kept.mixed_gradient, heads) @ kept.values.mT
    return rules.copy(kept.skip, skip, _linear(block.attn.qkv, kept.normed, qkv)), attention, gradient


def _through_embedding(backbone: VisionTransformer, kept: Record, relevance: Tensor) -> Tensor:
    """From the tokens that enter the first block (B, N, D) to the pixels (B, C, H, W)."""
    prefix = backbone.num_prefix_tokens
    values, tokens = kept.patches, kept.tokens
    if backbone.pos_embed is None or backbone.no_embed_class:
        relevance, tokens, prefix = relevance[:, prefix:], tokens[:, prefix:], 0
    else:  # the prefix tokens have positions too, so they take part in the sums of the rule
        names = ("cls_token", "dist_token", "reg_token")
        parts = [getattr(backbone, name, None) for name in names]
        extra = [part.detach().to(values.dtype).expand(len(values), -1, -1) for part in parts if part is not None]
        values = torch.cat([*extra, values], 1)
    if backbone.pos_embed is not None:
        relevance = rules.residual(values, tokens - values, relevance)[0]
    convolution = backbone.patch_embed.proj
    rows, columns = (size // stride for size, stride in zip(kept.pixels.shape[-2:], convolution.stride, strict=True))
    image = relevance[:, prefix:].mT.unflatten(-1, (rows, columns))
    return rules.pixels(kept.pixels, convolution.weight.detach().to(values.dtype), convolution.stride, image)


def _linear(layer: nn.Module, inputs: Tensor, relevance: Tensor) -> Tensor:
    assert isinstance(layer, nn.Linear)
    return rules.linear(inputs, layer.weight.detach().to(inputs.dtype), relevance)

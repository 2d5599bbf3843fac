"""Layer-wise relevance propagation through a ViT, from one logit to the pixels (Chefer et al., CVPR 2021)."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from vitfaith.explainers.passes.readout import readout_rows
from vitfaith.explainers.relevance import rules, weights
from vitfaith.explainers.relevance.record import (
    BlockRecord,
    PoolRecord,
    Product,
    Record,
    join_heads,
    record,
    split_heads,
)
from vitfaith.explainers.relevance.support import GATED_MLPS, check_relprop
from vitfaith.models.classifier import Classifier
from vitfaith.models.pair_pooled import PairPooledViT
from vitfaith.models.rows import matmul

MEMORY = 2**32
"""Bytes that the record of one chunk of images may take, about; chunks do not change results."""


@dataclass
class Relevance:
    """Relevance of each image's target logit, in units of that logit's starting relevance 1.

    ``R`` is the relevance of an attention matrix, ``∇A`` the gradient of the target logit, ``E_h`` the mean over heads.
    Rollouts are read where the head reads: the row of the class token, or the mean row of the tokens that the head
    pools (a distilled model's two tokens, an average pool's patches); for attention pooling, the query's row of ``C`` of
    the pooling, which is a separate layer before ``Π``. Entry l of a rollout is its product from block l
    on: ``row · Π_{k=L-1..l} (I + C_k)``; rows are not normalised, as in the paper (§3.2) and its code.

    Attributes:
        attribution: (B, L, N) rollouts of ``C = E_h (∇A ⊙ R)⁺``.
        rollout: (B, L, N) rollouts of ``C = E_h R⁺``.
        last: (B, N) row of ``E_h R⁺`` in the last block, or in the attention pooling.
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
    activation, softmax and dropout, renormalised z-rule for residual sums and for the sum with the position embedding,
    zᴮ for pixels. Where Chefer et al. have no rule: a distilled model's mean of two heads is a residual sum, average
    pooling a linear layer. Layer scale is part of the linear layer before it. The gate of a gated MLP is a factor of a
    product. Rotary embeddings are linear in queries and keys, so they are part of their product. Biases of positions
    take no part, like biases of linear layers. Attention pooling is an attention whose learned query, a constant, takes
    no part, so the product of query and keys leaves all relevance to the keys. Relevance that reaches class, register
    and distillation tokens at the input is dropped.

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


def _propagate(classifier: Classifier, backbone: Any, images: Tensor, targets: Tensor, dtype: torch.dtype) -> Relevance:
    kept = record(classifier, backbone, images, targets, dtype)
    with torch.no_grad(), torch.autocast(images.device.type, enabled=False):
        relevance, pooling = _through_head(backbone, kept, targets)
        if pooling is None:
            start = torch.zeros_like(relevance[..., 0])
            read = start[:, readout_rows(backbone)]
            read.fill_(1 / read.shape[1])
            weighted, positive = [start], [start]
        else:  # the query's row of the pooling's attention; the query itself is no token
            weighted, positive = ([_padded(layer[:, 0], relevance)] for layer in _layers(*pooling))
        tokens = []
        for block in reversed(backbone.blocks):
            relevance, attention, gradient = _through_block(block, kept.blocks.pop(), relevance)
            of_gradient, of_relevance = _layers(attention, gradient)
            weighted.append(_step(weighted[-1], of_gradient))
            positive.append(_step(positive[-1], of_relevance))
            tokens.append(relevance.sum(-1))
        pixels = _through_embedding(backbone, kept, relevance).sum(1)
    return Relevance(
        attribution=torch.stack(weighted[:0:-1], 1),
        rollout=torch.stack(positive[:0:-1], 1),
        last=positive[1] - positive[0] if pooling is None else positive[0],
        tokens=torch.stack(tokens[::-1], 1),
        pixels=pixels[..., : images.shape[-2], : images.shape[-1]],
    )


def _layers(attention: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
    """``E_h (∇A ⊙ R)⁺`` and ``E_h R⁺`` of (B, heads, M, N)."""
    return (gradient * attention).clamp(min=0).mean(1), attention.clamp(min=0).mean(1)


def _step(row: Tensor, layer: Tensor) -> Tensor:
    """``row (I + layer)`` for (B, N) and (B, N, N)."""
    return row + matmul(row[:, None], layer)[:, 0]


def _through_head(backbone: Any, kept: Record, targets: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor] | None]:
    """From 1 at the target's logit to the final tokens (B, N, D); relevance and gradient of a pooling's attention."""
    ones = torch.ones(len(targets), 1, dtype=kept.final.dtype, device=kept.final.device)
    shares = [ones]
    if len(kept.heads) == 2:
        (_, _, first), (_, _, second) = kept.heads
        shares = list(rules.residual(first[:, None], second[:, None], ones))
    pooled = []
    for (head, inputs, _), share in zip(kept.heads, shares, strict=True):
        start = torch.zeros(len(targets), head.out_features, dtype=share.dtype, device=share.device)
        pooled.append(_linear(head, inputs, start.scatter(1, targets[:, None], share)))
    if kept.pool is not None:
        tokens, attention, gradient = _through_pooling(backbone.attn_pool, kept.pool, pooled[0][:, None])
        return _padded(tokens, kept.final), (attention, gradient)
    rows = readout_rows(backbone)
    relevance = torch.zeros_like(kept.final)
    if isinstance(backbone, PairPooledViT):
        token, mean = pooled[0].chunk(2, -1)
        patches = slice(backbone.num_prefix_tokens, None)
        relevance[:, 0], relevance[:, patches] = token, rules.pooled_mean(kept.final[:, patches], mean)
    elif backbone.global_pool == "avg":
        relevance[:, rows] = rules.pooled_mean(kept.final[:, rows], pooled[0])
    else:
        relevance[:, rows] = torch.stack(pooled, 1)
    return relevance, None


def _through_pooling(pool: Any, kept: PoolRecord, relevance: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Relevance of the tokens that the pooling reads (B, n, D) and of its attention, with the attention's gradient."""
    skip, branch = rules.residual(kept.attended, kept.mlp_branch, relevance)
    branch = _through_mlp(pool.mlp, weights.weight(pool.mlp.fc2, branch.dtype), kept, branch)
    relevance = rules.copy(kept.attended, skip, branch)
    mixed = _linear(pool.proj, kept.projected, relevance)
    attention, gradient, _, keys, values = _through_product(kept.product, mixed)
    both = torch.cat([join_heads(2 * keys), join_heads(values)], -1)  # the half of the learned query is the keys' too
    return _linear(pool.kv, kept.tokens, both), attention, gradient


def _through_block(block: Any, kept: BlockRecord, relevance: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Relevance of the block's input (B, N, D) and of its attention, with the attention's gradient (B, heads, N, N)."""
    dtype, middle = relevance.dtype, kept.middle
    skip, branch = rules.residual(middle, kept.mlp_branch, relevance)
    relevance = rules.copy(middle, skip, _through_mlp(block.mlp, weights.mlp_out(block, dtype), kept, branch))

    skip, branch = rules.residual(kept.skip, kept.attention_branch, relevance)
    mixed = rules.linear(kept.projected, weights.attention_out(block, dtype), branch)
    attention, gradient, *parts = _through_product(kept.product, mixed)
    joined = torch.cat([join_heads(part) for part in parts], -1)
    through = rules.linear(kept.normed, weights.queries_keys_values(block.attn, dtype), joined)
    return rules.copy(kept.skip, skip, through), attention, gradient


def _through_mlp(mlp: Any, last: Tensor, kept: BlockRecord | PoolRecord, relevance: Tensor) -> Tensor:
    """From the output of ``mlp``, whose last layer has the weights ``last``, to its input."""
    relevance = rules.linear(kept.expanded, last, relevance)
    if isinstance(mlp, GATED_MLPS):
        relevance = rules.gate(relevance)
    return rules.linear(kept.mlp_input, weights.hidden(mlp, relevance.dtype), relevance)


def _through_product(kept: Product, mixed: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """From attention's output (B, M, heads · d) to its matrix, the matrix's gradient, and queries, keys and values."""
    probabilities, gradient, keys, values = kept.attention()
    attention, of_values = rules.product(probabilities, values, split_heads(mixed, values.shape[-1]))
    of_queries, of_keys = rules.product_factors(kept.queries, keys.mT, attention)
    of_queries, of_keys = kept.rotated_back(of_queries), kept.rotated_back(kept.of_groups(of_keys.mT))
    of_queries = kept.rotated_back(kept.queries) * of_queries
    of_keys = kept.rotated_back(kept.keys) * of_keys
    return attention, gradient, of_queries, of_keys, kept.of_groups(of_values)


def _padded(tokens: Tensor, like: Tensor) -> Tensor:
    """(B, n, ·) of the last n tokens as (B, N, ·), 0 elsewhere."""
    found = torch.zeros(len(tokens), like.shape[1], *tokens.shape[2:], dtype=tokens.dtype, device=tokens.device)
    found[:, like.shape[1] - tokens.shape[1] :] = tokens
    return found


def _through_embedding(backbone: Any, kept: Record, relevance: Tensor) -> Tensor:
    """From the tokens that enter the first block (B, N, D) to the pixels (B, C, H, W)."""
    prefix, positions = backbone.num_prefix_tokens, getattr(backbone, "pos_embed", None)
    values, tokens = kept.patches, kept.tokens
    if positions is None or getattr(backbone, "no_embed_class", False):
        relevance, tokens, prefix = relevance[:, prefix:], tokens[:, prefix:], 0
    else:  # the prefix tokens have positions too, so they take part in the sums of the rule
        names = ("cls_token", "dist_token", "reg_token")
        parts = [getattr(backbone, name, None) for name in names]
        extra = [part.detach().to(values.dtype).expand(len(values), -1, -1) for part in parts if part is not None]
        values = torch.cat([*extra, values], 1)
    if positions is not None:
        relevance = rules.residual(values, tokens - values, relevance)[0]
    convolution = backbone.patch_embed.proj
    rows, columns = (size // stride for size, stride in zip(kept.pixels.shape[-2:], convolution.stride, strict=True))
    image = relevance[:, prefix:].mT.unflatten(-1, (rows, columns))
    return rules.pixels(kept.pixels, convolution.weight.detach().to(values.dtype), convolution.stride, image)


def _linear(layer: Any, inputs: Tensor, relevance: Tensor) -> Tensor:
    return rules.linear(inputs, weights.weight(layer, inputs.dtype), relevance)

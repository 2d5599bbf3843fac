"""Gradient × input and gradient × bias of one modified backward pass, by token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from timm.models.vision_transformer import ParallelScalingBlock
from torch import Tensor, nn

from vitfaith.explainers.passes import graph
from vitfaith.explainers.passes.watch import Watch
from vitfaith.explainers.relevance.modified import Rules, modified_backward
from vitfaith.explainers.relevance.support import NORMS, check_gradient_rules, modules_of
from vitfaith.models.classifier import Classifier


@dataclass
class FullGradient:
    """The explained logit, taken apart (Srinivas & Fleuret 2019; Mehri et al. 2025, definition 1).

    With ``constant`` attention the pass is linear in the tokens and biases, so for every image
    ``score = inputs[:, 0].sum(1) + biases.sum(1) + pooled_biases``.

    Attributes:
        score: (B,) the explained logit.
        pixels: (B, H, W) gradient × normalised pixel, summed over channels.
        inputs: (B, L, N) gradient × token at the input of each block, summed over channels.
        biases: (B, N) gradient × bias of every layer from the first block on, summed over channels and layers, at the
            token where the bias was added.
        pooled_biases: (B,) the same for biases after pooling (of the head, of a norm after pooling).
    """

    score: Tensor
    pixels: Tensor
    inputs: Tensor
    biases: Tensor
    pooled_biases: Tensor


def full_gradient(classifier: Classifier, images: Tensor, targets: Tensor, rules: Rules) -> FullGradient:
    """One forward and one modified backward pass of ``images`` (B, C, H, W) in [0, 1] for ``targets`` (B,).

    The model runs in the precision of its weights; the read-outs are float32 (float64 for float64 models).

    Raises:
        InputError: the model has a module without a rule, or a target is out of range.
    """
    backbone = check_gradient_rules(classifier.backbone)
    biases: list[_Bias] = []

    def on_bias(bias: Tensor, added_to: Tensor) -> None:
        biases.append(_Bias(bias, added_to, (-1,)))

    with graph.with_graph(), modified_backward(backbone, rules, on_bias):
        leaves, targets = graph.ordinary(images).requires_grad_(), graph.ordinary(targets)
        with Watch[nn.Module]() as tokens, Watch[_Place]() as biased:
            for block in backbone.blocks:
                tokens.entering(block, block)
            _watch_biases(biased, backbone)
            logits = classifier(leaves)
        score = graph.target_logits(logits, targets)
        for (bias, pooled), x in biased.seen:
            if x.requires_grad:
                biases.append(_Bias(bias, x, tuple(range(1, x.ndim)) if pooled else (-1,)))
        inputs = [leaves, *(x for _, x in tokens.seen), *(x for _, x, _ in biases)]
        gradients = iter(torch.autograd.grad(score.sum(), inputs, allow_unused=True, materialize_grads=True))
    with torch.no_grad():
        pixels = ((leaves - classifier.mean) * next(gradients)).sum(1)
        by_block = [_sum(x, next(gradients), (-1,)) for _, x in tokens.seen]
        by_token, after_pooling = torch.zeros_like(by_block[0]), torch.zeros_like(by_block[0][:, 0])
        for bias, _, axes in biases:
            term = _sum(bias, next(gradients), axes)
            if term.ndim == 1:
                after_pooling += term
            else:
                by_token[:, by_token.shape[1] - term.shape[1] :] += term  # a pooling may read the patches alone
    return FullGradient(
        score=_wide(score.detach()),
        pixels=_wide(pixels),
        inputs=torch.stack(by_block, 1),
        biases=by_token,
        pooled_biases=after_pooling,
    )


class _Place(NamedTuple):
    """A bias, and whether it is added after pooling."""

    bias: Tensor
    pooled: bool


class _Bias(NamedTuple):
    """A bias, the tensor it was added to, and the axes to sum over for one value per token, or per image."""

    bias: Tensor
    added_to: Tensor
    axes: tuple[int, ...]


def _watch_biases(watch: Watch[_Place], backbone: nn.Module) -> None:
    """Layers with a bias from the first block on. Query and key norms work per head, and only on the matrix side."""
    for name, module in modules_of(backbone):
        first, last = name.split(".")[0], name.split(".")[-1]
        if first not in ("blocks", "norm", "attn_pool", "fc_norm", "head", "head_dist") or last in ("q_norm", "k_norm"):
            continue
        if isinstance(module, ParallelScalingBlock) and module.mlp_bias is not None:
            watch.entering(module.mlp_act, _Place(module.mlp_bias, pooled=False))
        bias = getattr(module, "bias", None)
        if isinstance(module, (nn.Linear, *NORMS)) and bias is not None:
            watch.leaving(module, _Place(bias, pooled=first == "attn_pool" and last != "kv"))


def _sum(value: Tensor, gradient: Tensor, axes: tuple[int, ...]) -> Tensor:
    return (_wide(value.detach()) * _wide(gradient)).sum(axes)


def _wide(tensor: Tensor) -> Tensor:
    return tensor if tensor.dtype == torch.float64 else tensor.float()

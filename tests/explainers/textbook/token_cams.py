"""Finer-CAM and ShapleyCAM written out on the last block of a class-token ViT: one image, one class at a time, float64."""

from __future__ import annotations

import copy
import math
import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from vitfaith.models.classifier import Classifier


class LastBlock:
    """The logits of one image as a function of the tokens (N, D) that leave the last block's first norm."""

    def __init__(self, classifier: Classifier, image: Tensor) -> None:
        self.net: Any = copy.deepcopy(classifier).double().backbone
        for block in self.net.blocks:
            block.attn.fused_attn = False
        with torch.no_grad():
            state = self.net.forward_intermediates(
                (image.double()[None] - 0.5) / 0.25, indices=[len(self.net.blocks) - 2], intermediates_only=True,
                output_fmt="NLC", return_prefix_tokens=True, norm=False,
            )  # fmt: skip
            patches, prefix = state[0]
            self.stream = torch.cat([prefix, patches], 1)
            self.tokens = self.net.blocks[-1].norm1(self.stream)[0]

    def logits(self, tokens: Tensor) -> Tensor:
        """(K,)."""
        block = self.net.blocks[-1]
        state = self.stream + block.attn(tokens[None])
        state = state + block.mlp(block.norm2(state))
        return self.net.head(self.net.norm(state)[:, 0])[0]

    def gradient(self, score: Callable[[Tensor], Tensor]) -> Tensor:
        """Of ``score(logits)`` at the tokens, (N, D)."""
        tokens = self.tokens.clone().requires_grad_()
        return torch.autograd.grad(score(self.logits(tokens)), tokens)[0]

    def curvature(self, score: Callable[[Tensor], Tensor]) -> Tensor:
        """H·X from the whole Hessian, (N, D)."""
        flat = self.tokens.flatten()

        def of(values: Tensor) -> Tensor:
            return score(self.logits(values.view_as(self.tokens)))

        hessian = torch.autograd.functional.hessian(of, flat)
        return (hessian @ flat).view_as(self.tokens)


def weighted(tokens: Tensor, weights: Tensor) -> Tensor:
    """Each channel of the patches (P, D) times its weight (D,), channel by channel, (4, 4)."""
    return torch.stack([w * tokens[:, d] for d, w in enumerate(weights)]).sum(0).view(4, 4)


def finer_cam(
    classifier: Classifier, image: Tensor, target: int, references: int, strength: float, kind: str
) -> Tensor:
    """Before the clamp: a gradient for each logit, put together by the chain rule."""
    block = LastBlock(classifier, image)
    logits = block.logits(block.tokens).tolist()
    others = sorted((k for k in range(len(logits)) if k != target), key=lambda k: (abs(logits[k] - logits[target]), k))
    chosen = others[:references]
    share = {r: 1 / len(chosen) for r in chosen}
    if kind == "probability":
        total = sum(math.exp(logits[r]) for r in chosen)
        share = {r: math.exp(logits[r]) / total for r in chosen}
    difference = {r: logits[target] - strength * logits[r] for r in chosen}
    score = sum(share[r] * difference[r] for r in chosen)
    gradient = block.gradient(lambda y: y[target])
    for r in chosen:
        through_weight = share[r] * (difference[r] - score) if kind == "probability" else 0.0
        gradient = gradient + (through_weight - strength * share[r]) * block.gradient(operator.itemgetter(r))
    return weighted(block.tokens[1:], gradient[1:].mean(0))


def shapley_cam(classifier: Classifier, image: Tensor, target: int, utility: str) -> Tensor:
    """Before the clamp: the whole Hessian."""

    def score(logits: Tensor) -> Tensor:
        own = logits[target]
        return own + own - torch.log(sum(torch.exp(y) for y in logits)) if utility == "rest" else own

    block = LastBlock(classifier, image)
    values = block.gradient(score) - 0.5 * block.curvature(score)
    return weighted(block.tokens[1:], values[1:].mean(0))

"""Shapley values by their definition, and a ViT-Shapley head patch by patch."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import combinations

import torch
from torch import Tensor

from vitfaith.explainers.shapley.network import ShapleyHead
from vitfaith.models.classifier import Classifier


def shapley_values(value: Callable[[tuple[int, ...]], Tensor], players: int) -> Tensor:
    """Σ_S |S|! (n − |S| − 1)! / n! (v(S ∪ i) − v(S)) for each player i, over all sets without it: (n, …) float64."""
    known = {s: value(s).double() for k in range(players + 1) for s in combinations(range(players), k)}
    found = []
    for i in range(players):
        total = torch.zeros_like(known[()])
        for s, before in known.items():
            if i not in s:
                weight = math.factorial(len(s)) * math.factorial(players - len(s) - 1) / math.factorial(players)
                total = total + weight * (known[tuple(sorted((*s, i)))] - before)
        found.append(total)
    return torch.stack(found)


def map_of_head(classifier: Classifier, head: ShapleyHead, surrogate: Classifier, image: Tensor, target: int) -> Tensor:
    """The map (rows, columns) of one image (C, H, W); hidden patches are the image's mean."""
    tokens: list[Tensor] = []
    handle = classifier.backbone.blocks[-1].register_forward_hook(lambda _m, _a, out: tokens.append(out))  # type: ignore[index, operator]
    with torch.no_grad():
        classifier(image[None])
        everything = surrogate(image[None]).softmax(1)[0, target]
        none = surrogate(torch.full_like(image, float(image.mean()))[None]).softmax(1)[0, target]
    handle.remove()
    count = classifier.grid[0] * classifier.grid[1]
    x = [token.double() for token in tokens[0][0, -count:]]
    mix = head.mix
    width, heads = head.width, mix.self_attn.num_heads
    size = width // heads

    def normed(norm: torch.nn.LayerNorm, v: Tensor) -> Tensor:
        centred = v - v.mean()
        return centred / (centred.pow(2).mean() + norm.eps).sqrt() * norm.weight.double() + norm.bias.double()

    def linear(weight: Tensor, bias: Tensor, v: Tensor) -> Tensor:
        return weight.double() @ v + bias.double()

    projected = [linear(mix.self_attn.in_proj_weight, mix.self_attn.in_proj_bias, normed(mix.norm1, v)) for v in x]
    mixed = []
    for i in range(count):
        parts = []
        for h in range(heads):
            own = slice(h * size, (h + 1) * size)
            scores = torch.stack([projected[i][own] @ projected[j][width:][own] for j in range(count)]) / size**0.5
            weights = scores.softmax(0)
            parts.append(sum(weights[j] * projected[j][2 * width :][own] for j in range(count)))
        out = linear(mix.self_attn.out_proj.weight, mix.self_attn.out_proj.bias, torch.cat(parts))
        between = x[i] + out
        inner = torch.nn.functional.gelu(linear(mix.linear1.weight, mix.linear1.bias, normed(mix.norm2, between)))
        mixed.append(between + linear(mix.linear2.weight, mix.linear2.bias, inner))
    norm, first, _, last = head.read
    values = []
    for v in mixed:
        inner = torch.nn.functional.gelu(linear(first.weight, first.bias, normed(norm, v)))
        values.append(linear(last.weight, last.bias, inner)[target])
    raw = torch.stack(values)
    return (raw + (everything.double() - none.double() - raw.sum()) / count).view(classifier.grid)

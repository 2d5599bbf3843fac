"""Chefer et al.'s relevance propagation output by output: loops over neurons, float64, one image."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn

from vitfaith.models.classifier import Classifier


def divide(a: float | Tensor, b: float | Tensor) -> Tensor:
    a, b = torch.as_tensor(a, dtype=torch.float64), torch.as_tensor(b, dtype=torch.float64)
    return torch.where(b == 0, 0.0, a / torch.where(b == 0, 1.0, b + 1e-9))


def slow_linear(x: Tensor, layer: nn.Linear, relevance: Tensor) -> Tensor:
    """Output by output: every positive contribution takes its share."""
    out = torch.zeros_like(x)
    for j, weights in enumerate(layer.weight.double()):
        up = (x * weights).clamp(min=0)
        out += divide(up * relevance[..., j : j + 1], up.sum(-1, keepdim=True))
    return out


def slow_product(a: Tensor, b: Tensor, relevance: Tensor) -> tuple[Tensor, Tensor]:
    """Entry by entry of a @ b: contribution a_id b_dj of the sum takes half its share for a_id and half for b_dj."""
    for_a, for_b = torch.zeros_like(a), torch.zeros_like(b)
    for i in range(a.shape[0]):
        for j in range(b.shape[1]):
            terms = a[i] * b[:, j]
            share = divide(terms * relevance[i, j], terms.sum()) / 2
            for_a[i] += share
            for_b[:, j] += share
    return for_a, for_b


def slow_sum(a: Tensor, b: Tensor, relevance: Tensor) -> tuple[Tensor, Tensor]:
    parts = [x * divide(relevance, a + b) for x in (a, b)]
    sums = [float(part.sum()) for part in parts]
    total = float(relevance.sum())
    wanted = [abs(s) / (abs(sums[0]) + abs(sums[1])) * total for s in sums]
    return parts[0] * wanted[0] / sums[0], parts[1] * wanted[1] / sums[1]


def slow_pixels(image: Tensor, convolution: nn.Conv2d, relevance: Tensor) -> Tensor:
    """zB, patch by patch and filter by filter; ``relevance`` is (rows, columns, D)."""
    low, high = image.min(), image.max()
    size = convolution.kernel_size[0]
    out = torch.zeros_like(image)
    for r in range(relevance.shape[0]):
        for c in range(relevance.shape[1]):
            window = (slice(None), slice(r * size, (r + 1) * size), slice(c * size, (c + 1) * size))
            for d, w in enumerate(convolution.weight.double()):
                terms = image[window] * w - low * w.clamp(min=0) - high * w.clamp(max=0)
                out[window] += divide(terms * relevance[r, c, d], terms.sum())
    return out


def relevance_maps(classifier: Classifier, image: Tensor, target: int) -> dict[str, Tensor]:
    """All four maps of one image in float64: forward written out, gradients by autograd, rules in slow form."""
    model = copy.deepcopy(classifier).double()
    net: Any = model.backbone
    two_heads = hasattr(net, "head_dist")
    pixels = (image.double() - model.mean[0]) / model.std[0]
    embedded = net.patch_embed.proj(pixels[None])[0].flatten(1).T
    names = ("cls_token", "dist_token", "reg_token")
    prefix = [getattr(net, n)[0] for n in names if getattr(net, n, None) is not None]
    p = sum(len(t) for t in prefix)
    position = torch.zeros(1, embedded.shape[1], dtype=torch.float64) if net.pos_embed is None else net.pos_embed[0]
    if net.no_embed_class or net.pos_embed is None:
        tokens = torch.cat([*prefix, embedded + position])
    else:
        tokens = torch.cat([*prefix, embedded]) + position
    x = net.norm_pre(tokens).detach().requires_grad_()

    kept, attentions = [], []
    for block in net.blocks:
        attn, k = block.attn, {"x": x}
        k["normed"] = block.norm1(x)
        qkv = attn.qkv(k["normed"]).reshape(len(x), 3, attn.num_heads, -1)
        k["q"], k["k"] = attn.q_norm(qkv[:, 0]), attn.k_norm(qkv[:, 1])
        k["v"] = qkv[:, 2]
        scores = torch.einsum("ihd,jhd->hij", k["q"], k["k"]) / math.sqrt(attn.head_dim)
        a = torch.exp(scores) / torch.exp(scores).sum(-1, keepdim=True)
        a.retain_grad()
        attentions.append(a)
        k["mixed"] = torch.einsum("hij,jhd->ihd", a, k["v"]).reshape(len(x), -1)
        k["branch1"] = block.ls1(attn.proj(k["mixed"]))
        k["middle"] = x + k["branch1"]
        k["mlp_in"] = block.norm2(k["middle"])
        k["expanded"] = block.mlp.act(block.mlp.fc1(k["mlp_in"]))
        k["branch2"] = block.ls2(block.mlp.fc2(k["expanded"]))
        x = k["middle"] + k["branch2"]
        kept.append(k)
    final = net.norm(x)
    start = 0 if net.pool_include_prefix else p
    if two_heads:
        inputs, rows = [final[0], final[1]], [0, 1]
        own = [net.head(inputs[0])[target] / 2, net.head_dist(inputs[1])[target] / 2]
        logit = own[0] + own[1]
    else:
        rows = [0] if net.global_pool == "token" else list(range(start, len(x)))
        inputs = [net.fc_norm(final[rows].mean(0))]
        logit = net.head(inputs[0])[target]
    logit.backward()
    kept = [{name: value.detach() for name, value in k.items()} for k in kept]
    final = final.detach()

    with torch.no_grad():
        relevance = torch.zeros_like(final)
        one = torch.zeros(net.num_classes, dtype=torch.float64)
        one[target] = 1
        if two_heads:
            whole = [slow_sum(own[0][None], own[1][None], torch.ones(1, dtype=torch.float64))[i] for i in (0, 1)]
            for row, head in enumerate((net.head, net.head_dist)):
                relevance[row] = slow_linear(inputs[row].detach(), head, one * whole[row])
        elif net.global_pool == "token":
            relevance[0] = slow_linear(inputs[0].detach(), net.head, one)
        else:
            pooled = slow_linear(inputs[0].detach(), net.head, one)
            positive = final[rows].clamp(min=0)
            relevance[rows] = divide(positive * pooled, positive.sum(0))
        by_layer: list[Tensor] = []
        for block, k in reversed(list(zip(net.blocks, kept, strict=True))):
            skip, branch = slow_sum(k["middle"], k["branch2"], relevance)
            through = slow_linear(k["mlp_in"], block.mlp.fc1, slow_linear(k["expanded"], block.mlp.fc2, branch))
            relevance = k["middle"] * (divide(skip, k["middle"]) + divide(through, k["middle"]))
            skip, branch = slow_sum(k["x"], k["branch1"], relevance)
            mixed = slow_linear(k["mixed"], block.attn.proj, branch).reshape(k["v"].shape)
            scores = torch.einsum("ihd,jhd->hij", k["q"], k["k"]) / math.sqrt(block.attn.head_dim)
            qkv = torch.zeros(len(relevance), 3, *k["v"].shape[1:], dtype=torch.float64)
            on_attention = torch.zeros_like(scores)
            for h in range(block.attn.num_heads):
                on_attention[h], qkv[:, 2, h] = slow_product(scores[h].softmax(-1), k["v"][:, h], mixed[:, h])
                qkv[:, 0, h], on_keys = slow_product(k["q"][:, h], k["k"][:, h].T, on_attention[h])
                qkv[:, 1, h] = on_keys.T
            through = slow_linear(k["normed"], block.attn.qkv, qkv.flatten(1))
            relevance = k["x"] * (divide(skip, k["x"]) + divide(through, k["x"]))
            by_layer.insert(0, on_attention)
        if net.pos_embed is None:
            relevance = relevance[p:]
        elif net.no_embed_class:
            relevance = slow_sum(embedded, position, relevance[p:])[0]
        else:
            relevance = slow_sum(torch.cat([*prefix, embedded]), position, relevance)[0][p:]
        on_pixels = slow_pixels(pixels, net.patch_embed.proj, relevance.reshape(4, 4, -1))

    def rollout(layers: list[Tensor]) -> Tensor:
        joint = torch.eye(len(final), dtype=torch.float64)
        for layer in layers:
            joint = (torch.eye(len(final), dtype=torch.float64) + layer) @ joint
        return joint

    def read(matrix: Tensor) -> Tensor:
        return matrix[rows].mean(0)[p:].reshape(4, 4)

    positive_layers = [r.clamp(min=0).mean(0) for r in by_layer]
    weighted = [(r * a.grad).clamp(min=0).mean(0) for r, a in zip(by_layer, attentions, strict=True)]  # type: ignore[operator]
    return {
        "lrp": on_pixels.sum(0).reshape(4, 4, 4, 4).sum((1, 3)),
        "partial_lrp": read(positive_layers[-1]),
        "transformer_attribution": read(rollout(weighted)),
        "lrp_rollout": read(rollout(positive_layers)),
    }

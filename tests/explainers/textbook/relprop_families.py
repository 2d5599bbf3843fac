"""The relevance propagation of :mod:`relprop` on EVA, BEiT, DINOv3 and their kin: the same loops, one image, float64."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from tests.explainers.textbook.families import Written, normalised
from tests.explainers.textbook.relprop import divide, slow_linear, slow_pixels, slow_product, slow_sum
from vitfaith.models.classifier import Classifier


def weighted(x: Tensor, weight: Tensor, relevance: Tensor) -> Tensor:
    layer: Any = SimpleNamespace(weight=weight.detach())
    return slow_linear(x.detach(), layer, relevance)


def copied(x: Tensor, first: Tensor, second: Tensor) -> Tensor:
    return x * (divide(first, x) + divide(second, x))


def slow_scores(q: Tensor, k: Tensor, rotate: Any, head: int, relevance: Tensor) -> tuple[Tensor, Tensor]:
    """Score by score of (P_i q_i)·(P_j k_j), P written as matrices: half to the coordinates of q_i, half to those of k_j."""
    size = q.shape[1]

    def matrices(rows: int) -> Tensor:
        unit = torch.eye(size, dtype=q.dtype)
        return torch.stack([rotate(unit[c].expand(rows, size), head) for c in range(size)], 2)

    of_q, of_k = matrices(len(q)), matrices(len(k))
    for_q, for_k = torch.zeros_like(q), torch.zeros_like(k)
    for i in range(len(q)):
        for j in range(len(k)):
            terms = q[i][:, None] * (of_q[i].T @ of_k[j]) * k[j]
            share = divide(terms * relevance[i, j], terms.sum()) / 2
            for_q[i] += share.sum(1)
            for_k[j] += share.sum(0)
    return for_q, for_k


def through_mlp(mlp: Any, gamma: Tensor | None, kept: dict[str, Any], relevance: Tensor) -> Tensor:
    last = mlp.fc2.weight if gamma is None else torch.diag(gamma) @ mlp.fc2.weight
    relevance = weighted(kept["expanded"], last, relevance)
    if hasattr(mlp, "fc1_g"):
        gate, value = (weighted(kept["mlp_in"], m.weight, relevance / 2) for m in (mlp.fc1_g, mlp.fc1_x))
        return gate + value
    if hasattr(mlp, "gate_last"):
        relevance = torch.cat([relevance / 2, relevance / 2], -1)
    return weighted(kept["mlp_in"], mlp.fc1.weight, relevance)


def family_maps(classifier: Classifier, image: Tensor, target: int) -> dict[str, Tensor]:
    """All four maps of one image, and the sum of relevance that enters each block."""
    net: Any = classifier.backbone
    pixels = normalised(classifier, image).requires_grad_()
    run = Written(net)
    run.logit(pixels, target).backward()
    final, pool = run.final.detach(), getattr(net, "attn_pool", None)
    first = sum(len(t) for t in run.prefix)
    one = torch.zeros(net.num_classes, dtype=torch.float64)
    one[target] = 1
    relevance = torch.zeros_like(final)
    start: dict[str, Tensor] = {}
    with torch.no_grad():
        out = weighted(run.head_input, net.head.weight, one)
        if pool is not None:
            k = run.pool
            skip, branch = slow_sum(k["middle"][None], k["branch2"][None], out[None])
            through = through_mlp(pool.mlp, None, k, branch[0])
            mixed = weighted(k["mixed"], pool.proj.weight, copied(k["middle"], skip[0], through))
            mixed = mixed.reshape(pool.num_heads, -1)
            on_kv = torch.zeros(len(k["x"]), 2, *mixed.shape, dtype=torch.float64)
            rows = []
            for h in range(pool.num_heads):
                on_a, on_kv[:, 1, h] = slow_product(k["attention"][h], k["v"][:, h], mixed[None, h])
                _, half = slow_product(k["q"][:, h], k["k"][:, h].T, on_a)
                on_kv[:, 0, h] = 2 * half.T
                rows.append((on_a[0], k["attention"][h].grad[0]))
            relevance[run.first :] = weighted(k["x"], pool.kv.weight, on_kv.flatten(1))
            start["rollout"] = torch.zeros(len(final), dtype=torch.float64)
            start["attribution"] = torch.zeros(len(final), dtype=torch.float64)
            start["rollout"][run.first :] = torch.stack([r.clamp(min=0) for r, _ in rows]).mean(0)
            start["attribution"][run.first :] = torch.stack([(r * g).clamp(min=0) for r, g in rows]).mean(0)
        elif net.global_pool == "token":
            relevance[0] = out[: final.shape[1]]
            out = out[final.shape[1] :]  # DINOv2's other half
        if len(out) and pool is None:
            positive = final[first:].clamp(min=0)
            relevance[first:] = divide(positive * out, positive.sum(0))
        by_layer, sums = list[Any](), list[Any]()
        for block, k in reversed(list(zip(net.blocks, run.blocks, strict=True))):
            skip, branch = slow_sum(k["middle"], k["branch2"], relevance)
            relevance = copied(k["middle"], skip, through_mlp(block.mlp, k["gammas"][1], k, branch))
            skip, branch = slow_sum(k["x"], k["branch1"], relevance)
            proj = block.attn.proj.weight
            proj = proj if k["gammas"][0] is None else torch.diag(k["gammas"][0]) @ proj
            heads, groups = k["q"].shape[1], k["k"].shape[1]
            mixed = weighted(k["mixed"], proj, branch).reshape(len(final), heads, -1)
            on_q, on_k, on_v = (torch.zeros_like(k[name]) for name in ("q", "k", "v"))
            on_attention = []
            for h in range(heads):
                g = h * groups // heads
                on_a, of_v = slow_product(k["attention"][h], k["v"][:, g], mixed[:, h])
                of_q, of_k = slow_scores(k["q"][:, h], k["k"][:, g], k["rotate"], h, on_a)
                on_q[:, h] += of_q
                on_k[:, g] += of_k
                on_v[:, g] += of_v
                on_attention.append((on_a, k["attention"][h].grad))
            on_qkv = torch.cat([on_q.flatten(1), on_k.flatten(1), on_v.flatten(1)], 1)
            relevance = copied(k["x"], skip, weighted(k["normed"], k["qkv_weight"], on_qkv))
            by_layer.insert(0, on_attention)
            sums.insert(0, relevance.sum())
        position = getattr(net, "pos_embed", None)
        if position is None:
            relevance = relevance[first:]
        elif getattr(net, "no_embed_class", False):
            relevance = slow_sum(run.patches, position[0], relevance[first:])[0]
        else:
            relevance = slow_sum(torch.cat([*run.prefix, run.patches]), position[0], relevance)[0][first:]
        on_pixels = slow_pixels(pixels.detach(), net.patch_embed.proj, relevance.unflatten(0, classifier.grid))

    positive_layers = [torch.stack([r.clamp(min=0) for r, _ in layer]).mean(0) for layer in by_layer]
    weighted_layers = [torch.stack([(r * g).clamp(min=0) for r, g in layer]).mean(0) for layer in by_layer]
    read = torch.zeros(len(final), dtype=torch.float64)
    read[0 if net.global_pool == "token" else slice(first, None)] = 1
    read = read / read.sum()

    def rollout(layers: list[Tensor], row: Tensor) -> Tensor:
        joint = torch.eye(len(final), dtype=torch.float64)
        for layer in layers:
            joint = (torch.eye(len(final), dtype=torch.float64) + layer) @ joint
        return (row @ joint)[first:].unflatten(0, classifier.grid)

    last = start["rollout"] if pool is not None else read @ positive_layers[-1]
    height, width = net.patch_embed.proj.kernel_size
    patches = on_pixels.sum(0).unflatten(1, (-1, width)).unflatten(0, (-1, height))
    return {
        "lrp": patches.sum((1, 3)),
        "partial_lrp": last[first:].unflatten(0, classifier.grid),
        "transformer_attribution": rollout(weighted_layers, start.get("attribution", read)),
        "lrp_rollout": rollout(positive_layers, start.get("rollout", read)),
        "sums": torch.stack(sums),
    }

"""The slow way to what the shared pass keeps: unfused attention, retained gradients, the whole graph."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tests.explainers.zoo import batch, model
from vitfaith.explainers.passes.readout import readout_rows
from vitfaith.models.classifier import Classifier


@contextmanager
def unfused(classifier: Classifier) -> Iterator[None]:
    """Attention that forms its matrix, for the reference."""
    modules = [block.attn for block in classifier.backbone.blocks]
    before = [module.fused_attn for module in modules]
    for module in modules:
        module.fused_attn = False
    try:
        yield
    finally:
        for module, value in zip(modules, before, strict=True):
            module.fused_attn = value


def reference(classifier: Classifier, images: Tensor, targets: Tensor) -> dict[str, list[Tensor]]:
    """Plain autograd: attention is what enters its dropout, everything retains its gradient."""
    kept: dict[str, list[Tensor]] = {"attention": [], "hidden": [], "norm1": []}

    def keep(name: str, tensor: Tensor) -> None:
        tensor.retain_grad()
        kept[name].append(tensor)

    blocks = classifier.backbone.blocks
    handles = [b.attn.attn_drop.register_forward_pre_hook(lambda _, i: keep("attention", i[0])) for b in blocks]
    handles += [b.register_forward_pre_hook(lambda _, i: keep("hidden", i[0])) for b in blocks]
    handles += [blocks[-1].register_forward_hook(lambda _, __, o: keep("hidden", o))]
    handles += [blocks[-1].norm1.register_forward_hook(lambda _, __, o: keep("norm1", o))]
    pixels = images.clone().requires_grad_()
    with unfused(classifier):
        classifier(pixels)[torch.arange(len(images)), targets].sum().backward()
    for handle in handles:
        handle.remove()
    gradients = {f"{name}_gradient": [t.grad for t in tensors] for name, tensors in kept.items()}
    return kept | gradients | {"input_gradient": [pixels.grad]}  # type: ignore[dict-item, return-value]


def close(found: Tensor, expected: Tensor, tolerance: float = 1e-5) -> None:
    """Largest difference, relative to the largest expected magnitude."""
    assert found.dtype == torch.float32
    found = found.to(expected.dtype)
    assert found.shape == expected.shape
    scale = expected.abs().max()
    assert scale > 0
    assert (found - expected).abs().max() <= tolerance * scale


@cache
def arrays(name: str) -> tuple[list[dict[str, Any]], list[int]]:
    """What the textbook reads, for each image of the model's batch in float64, and the tokens that the head reads."""
    classifier = copy.deepcopy(model(name)).double()
    images, targets, _ = batch(classifier)
    kept = reference(classifier, images.double(), targets)
    found = []
    for i in range(len(images)):
        one: dict[str, Any] = {
            key: [t[i].detach().numpy() for t in tensors] for key, tensors in kept.items() if key != "input_gradient"
        }
        one["value"], one["scores"] = _values_and_scores(classifier, kept["hidden"], i)
        blocks = classifier.backbone.blocks
        one["weight"] = [block.attn.proj.weight.numpy() for block in blocks]
        one["bias"] = [block.attn.proj.bias.numpy() for block in blocks]
        one["scale"] = [b.ls1.gamma.numpy() if hasattr(b.ls1, "gamma") else np.ones(24) for b in blocks]
        one["features"] = one["norm1"][0][classifier.prefix_tokens :]
        one["features_gradient"] = one["norm1_gradient"][0][classifier.prefix_tokens :]
        found.append(one)
    tokens = kept["hidden"][0].shape[1]
    return found, list(range(tokens))[readout_rows(classifier.backbone)]


def _values_and_scores(classifier: Classifier, hidden: list[Tensor], image: int) -> tuple[list[Any], list[Any]]:
    values, scores = [], []
    for block, state in zip(classifier.backbone.blocks, hidden, strict=False):
        attn = block.attn
        q, k, v = (
            attn.qkv(block.norm1(state.detach()))[image].unflatten(-1, (3, attn.num_heads, -1)).permute(1, 2, 0, 3)
        )
        values.append(v.numpy())
        scores.append((q @ k.transpose(1, 2) / attn.head_dim**0.5).numpy())
    return values, scores


def legrad(name: str, start: int = 0) -> Tensor:
    """LeGrad: each layer's score by a forward of its own, with everything before the layer's attention cut off."""
    classifier = copy.deepcopy(model(name)).double()
    images, targets, _ = batch(classifier)
    states = reference(classifier, images.double(), targets)["hidden"]
    total = torch.zeros(len(images), states[0].shape[1], dtype=torch.float64)
    backbone = classifier.backbone
    for block, state in list(zip(backbone.blocks, states, strict=False))[start:]:
        kept: list[Tensor] = []

        def keep(_module: Any, inputs: tuple[Tensor], kept: list[Tensor] = kept) -> tuple[Tensor]:
            kept.append(inputs[0].detach().requires_grad_())
            return (kept[-1],)

        block.attn.fused_attn = False
        handle = block.attn.attn_drop.register_forward_pre_hook(keep)
        after = block(state.detach())
        handle.remove()
        pooled = backbone.norm(after.mean(1))
        logits = backbone.head(backbone.fc_norm(pooled))
        if name == "distilled":
            logits = (logits + backbone.head_dist(pooled)) / 2
        logits[torch.arange(len(images)), targets].sum().backward()
        assert kept[0].grad is not None
        total += kept[0].grad.clamp_min(0).mean((1, 2)) / (3 - start)
    return total[:, classifier.prefix_tokens :].unflatten(1, classifier.grid)


def pooled_legrad(classifier: Classifier, *, start: int = 0, norm: bool = False) -> Tensor:
    """LeGrad of a model with attention pooling: the tokens of each layer through the pooler, one query and head at a time."""
    classifier = copy.deepcopy(classifier).double()
    images, targets, _ = batch(classifier)
    states = reference(classifier, images.double(), targets)["hidden"][1:]
    net, total = classifier.backbone, torch.zeros(len(images), *classifier.grid, dtype=torch.float64)
    pool, patches = net.attn_pool, classifier.grid[0] * classifier.grid[1]
    for state in states[start:]:
        for image, target in enumerate(targets):
            tokens = state[image].detach()
            tokens = net.norm(tokens) if norm else tokens
            tokens = tokens if getattr(net, "pool_include_prefix", True) else tokens[classifier.prefix_tokens :]
            query = pool.q(pool.latent[0, 0]).unflatten(-1, (pool.num_heads, -1))
            keys, values = pool.kv(tokens).unflatten(-1, (2, pool.num_heads, -1)).unbind(1)
            attention = [
                torch.softmax(keys[:, head] @ query[head] / pool.head_dim**0.5, 0).detach().requires_grad_()
                for head in range(pool.num_heads)
            ]
            pooled = pool.proj(torch.cat([a @ values[:, head] for head, a in enumerate(attention)]))
            pooled = pooled + pool.mlp(pool.norm(pooled))
            net.head(net.fc_norm(pooled))[target].backward()
            for a in attention:
                assert a.grad is not None
                part = a.grad.clamp_min(0)[-patches:].unflatten(0, classifier.grid)
                total[image] += part / pool.num_heads / (len(states) - start)
    return total


def pixel_gradients(name: str) -> dict[str, Tensor]:
    """Saliency (``max`` and ``mean`` of channels) and input × gradient (zero at ``black``, ``model_mean``), by pixel."""
    classifier = copy.deepcopy(model(name)).double()
    images, targets, _ = batch(classifier)
    gradient = reference(classifier, images.double(), targets)["input_gradient"][0].numpy()
    pixels = images.double().numpy()
    rows, columns = classifier.grid
    found = {key: np.zeros((4, rows, columns)) for key in ("max", "mean", "black", "model_mean")}
    for b in range(4):
        for y in range(4 * rows):
            for x in range(4 * columns):
                cell = (b, y // 4, x // 4)
                g, p = gradient[b, :, y, x], pixels[b, :, y, x]
                found["max"][cell] += max(abs(g)) / 16
                found["mean"][cell] += sum(abs(g)) / 3 / 16
                found["black"][cell] += sum(p * g)
                found["model_mean"][cell] += sum((p - 0.5) * g)
    return {key: torch.from_numpy(values) for key, values in found.items()}

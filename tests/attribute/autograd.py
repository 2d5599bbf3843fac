"""The slow way to what the shared pass keeps: unfused attention, retained gradients, the whole graph."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

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

"""Oracles of relevance propagation: the package zennit."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from tests.explainers.oracles.base import Oracle, Pair, maps
from tests.explainers.zoo import batch, model


def zennit(layer: nn.Module, rule: object, values: Tensor, relevance: Tensor) -> Tensor:
    """What a rule of zennit makes of ``relevance`` at the output of ``layer``."""
    from zennit.composites import LayerMapComposite

    values = values.clone().requires_grad_()
    network = nn.Sequential(layer)
    with LayerMapComposite([(type(layer), rule)]).context(network) as modified:
        return torch.autograd.grad(modified(values), values, relevance)[0]


def zennit_linear() -> Pair:
    from zennit.rules import ZPlus

    from vitfaith.explainers.relevance import rules

    layer, values, relevance = random_linear()
    ours = rules.linear(values, layer.weight.detach(), relevance)
    return ours, zennit(layer, ZPlus(1e-12, zero_params="bias"), values, relevance)


def zennit_pixels() -> Pair:
    from zennit.rules import ZBox

    from vitfaith.explainers.relevance import rules

    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layer = nn.Conv2d(3, 5, 4, 4).double()
    values = torch.randn(1, 3, 8, 8, generator=generator, dtype=torch.float64)
    relevance = torch.randn(1, 5, 2, 2, generator=generator, dtype=torch.float64)
    ours = rules.pixels(values, layer.weight.detach(), (4, 4), relevance)
    return ours, zennit(layer, ZBox(values.min(), values.max(), 1e-12, zero_params="bias"), values, relevance)


def zennit_gamma(kind: str) -> Pair:
    """The γ-rule of one layer; relevance is gradient × output going in and gradient × input coming out."""
    from zennit.rules import Gamma

    from vitfaith.explainers.relevance.gamma import gamma_convolution, gamma_linear

    generator = torch.Generator().manual_seed(0)
    layer: nn.Module
    if kind == "linear":
        layer, values, relevance = random_linear()
        forward = gamma_linear(layer, 0.25)
    else:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            layer = nn.Conv2d(3, 5, 4, 4).double()
        values = torch.randn(2, 3, 8, 8, generator=generator, dtype=torch.float64)
        relevance = torch.randn(2, 5, 2, 2, generator=generator, dtype=torch.float64)
        forward = gamma_convolution(layer, 0.25)
    leaf = values.clone().requires_grad_()
    outputs = forward(leaf)
    (gradient,) = torch.autograd.grad(outputs, leaf, relevance / outputs.detach())
    return gradient * values, zennit(layer, Gamma(0.25, stabilizer=1e-12), values, relevance)


def zennit_vit() -> Pair:
    """The whole CP-LRP pass at the pixels, with zennit's γ-rule in the layers that have one: relevance out, relevance in."""
    from zennit.rules import Gamma

    classifier = copy.deepcopy(model("class_token")).double()
    images, targets, _ = batch(classifier)
    net: Any = classifier.backbone

    def hold(layer: nn.Module, gamma: float) -> Any:
        class Held(torch.autograd.Function):
            @staticmethod
            def forward(context: Any, x: Tensor) -> Tensor:
                context.save_for_backward(x)
                return layer(x)

            @staticmethod
            def backward(context: Any, gradient: Tensor) -> Tensor:
                (x,) = context.saved_tensors
                with torch.enable_grad():
                    return zennit(layer, Gamma(gamma, stabilizer=1e-12), x, gradient * layer(x)) / x

        return Held.apply

    def norm(layer: nn.LayerNorm, x: Tensor) -> Tensor:
        scale = torch.sqrt(x.var(-1, keepdim=True, unbiased=False) + layer.eps).detach()
        return (x - x.mean(-1, keepdim=True)) / scale * layer.weight + layer.bias

    def logits(pixels: Tensor) -> Tensor:
        x = hold(net.patch_embed.proj, 0.25)(pixels).flatten(2).mT
        x = torch.cat([net.cls_token.expand(len(x), -1, -1), x], 1) + net.pos_embed
        for block in net.blocks:
            qkv = block.attn.qkv(norm(block.norm1, x)).unflatten(-1, (3, 3, 8)).permute(2, 0, 3, 1, 4)
            a = (qkv[0] @ qkv[1].mT / 8**0.5).softmax(-1).detach()
            x = x + block.attn.proj((a @ qkv[2]).transpose(1, 2).flatten(2))
            y = hold(block.mlp.fc1, 0.05)(norm(block.norm2, x))
            x = x + hold(block.mlp.fc2, 0.05)(y * (nn.functional.gelu(y) / y).detach())
        return hold(net.head, 0.05)(norm(net.norm, x)[:, 0])

    pixels = ((images.double() - 0.5) / 0.25).requires_grad_()
    (gradient,) = torch.autograd.grad(logits(pixels).gather(1, targets[:, None]).sum(), pixels)
    expected = (pixels * gradient).detach().sum(1).unflatten(1, (4, 4)).unflatten(3, (4, 4)).sum((2, 4))
    return maps(model("class_token"), "cp_lrp", gamma=0.05, gamma_patches=0.25), expected


def random_linear() -> tuple[nn.Linear, Tensor, Tensor]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Linear(7, 5).double(), torch.randn(4, 7).double(), torch.randn(4, 5).double()


ORACLES = [
    Oracle("attnlrp", "Gamma", "package zennit; the γ-rule of one linear layer", 1e-6, partial(zennit_gamma, "linear")),
    Oracle(
        "attnlrp", "Gamma", "package zennit; the γ-rule of the patch embedding", 1e-6, partial(zennit_gamma, "conv")
    ),
    Oracle("cp_lrp", "Gamma", "package zennit; γ-rule in MLPs, head and patch embedding", 1e-5, zennit_vit),
    Oracle("lrp", "ZPlus", "package zennit; one linear layer", 1e-6, zennit_linear),
    Oracle("lrp", "ZBox", "package zennit; the patch embedding", 1e-6, zennit_pixels),
]

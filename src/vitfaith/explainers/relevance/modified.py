"""Modified backward passes: single modules of one model get another gradient for the time of a ``with`` block."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from timm.layers.attention import Attention
from torch import Tensor, nn
from torch.nn import functional

from vitfaith.explainers.relevance.gamma import gamma_convolution, gamma_linear
from vitfaith.explainers.relevance.support import ACTIVATIONS, LAYER_NORMS, NORMS, check_gradient_rules

AttentionRule = Literal["constant", "uniform"]
"""How attention passes gradients on: ``constant`` to the values alone, with the attention matrix held fixed (Ali et al.
2022, AH-rule; Mehri et al. 2025, Libra attention); ``uniform`` half to each factor of both products, so 1/4 to queries
and keys through the softmax's own gradient and 1/2 to values (Achtibat et al. 2024, uniform and softmax rules)."""

Forward = Callable[..., Tensor]


@dataclass(frozen=True)
class Rules:
    """The choices of one modified pass.

    Attributes:
        attention: see :data:`AttentionRule`.
        gamma: γ of linear layers; 0 leaves them their gradient. With ``constant`` attention those inside attention keep
            it too, as in the ViT example of AttnLRP's authors.
        gamma_patches: γ of the patch embedding.
    """

    attention: AttentionRule
    gamma: float = 0
    gamma_patches: float = 0


@contextmanager
def modified_backward(network: nn.Module, rules: Rules) -> Iterator[None]:
    """Inside, backward passes through ``network`` follow the rules; its outputs are the same up to rounding.

    Normalisation holds its scale fixed (the mean stays linear), activations ``x·gate(x)`` hold their gate fixed,
    attention and linear layers follow ``rules``. The forwards of these module instances are replaced while the block runs and put
    back at its end, also after an error; no class and no other model is touched. Backward passes must run inside.
    Not for two threads on one model at the same time.

    Raises:
        InputError: a module of ``network`` has no rule.
    """
    check_gradient_rules(network)
    before: list[tuple[nn.Module, Forward | None]] = []
    try:
        spared = _inside_attention(network) if rules.attention == "constant" else set()
        for module in network.modules():
            forward = None if module in spared else _modified_forward(module, rules)
            if forward is not None:
                before.append((module, module.__dict__.get("forward")))
                module.__dict__["forward"] = forward
        yield
    finally:
        for module, previous in reversed(before):
            if previous is None:
                del module.__dict__["forward"]
            else:
                module.__dict__["forward"] = previous


def _inside_attention(network: nn.Module) -> set[nn.Module]:
    """The linear layers of attention modules."""
    return {
        layer
        for module in network.modules()
        if isinstance(module, Attention)
        for layer in module.modules()
        if isinstance(layer, nn.Linear)
    }


def _modified_forward(module: nn.Module, rules: Rules) -> Forward | None:
    if isinstance(module, nn.Linear) and rules.gamma:
        return gamma_linear(module, rules.gamma)
    if isinstance(module, nn.Conv2d) and rules.gamma_patches:
        return gamma_convolution(module, rules.gamma_patches)
    if isinstance(module, Attention):
        return _attention(module, rules.attention)
    if type(module) in NORMS:
        return _norm(module)
    if type(module) in ACTIVATIONS:
        return _activation(module)
    return None


def _norm(module: Any) -> Forward:
    """Layer or RMS norm over the last axis whose scale has no gradient (Ali et al. 2022, LN-rule)."""
    centred = type(module) in LAYER_NORMS

    def forward(x: Tensor) -> Tensor:
        wide = _wide(x)
        if centred:
            wide = wide - wide.mean(-1, keepdim=True)
        eps = module.eps if module.eps is not None else torch.finfo(x.dtype).eps
        scale = (wide.detach().square().mean(-1, keepdim=True) + eps).rsqrt()
        out = wide * scale
        if module.weight is not None:
            out = out * module.weight
        if getattr(module, "bias", None) is not None:
            out = out + module.bias
        return out.to(x.dtype)

    return forward


def _activation(module: nn.Module) -> Forward:
    """``x · [gate(x)]`` with a gate that has no gradient; at x = 0 the gate is its limit 1/2."""

    def forward(x: Tensor) -> Tensor:
        wide = _wide(x)
        with torch.no_grad():
            value = type(module).forward(module, wide.detach().clone())
            gate = torch.where(wide == 0, 0.5, value / wide)
        return (wide * gate).to(x.dtype)

    return forward


def _attention(module: Attention, rule: AttentionRule) -> Forward:
    """timm's self-attention with weighted gradients; the fused kernel stays in use."""
    queries_keys, values = (0.0, 1.0) if rule == "constant" else (0.25, 0.5)

    def forward(x: Tensor, attn_mask: Tensor | None = None, is_causal: bool = False) -> Tensor:
        batch, count, _ = x.shape
        qkv = module.qkv(x).reshape(batch, count, 3, module.num_heads, module.head_dim)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        q, k = module.q_norm(q), module.k_norm(k)
        q, k, v = scale_gradient(q, queries_keys), scale_gradient(k, queries_keys), scale_gradient(v, values)
        out = functional.scaled_dot_product_attention(
            q, k, v, attn_mask=attn_mask, is_causal=is_causal, scale=module.scale
        )
        out = module.norm(out.transpose(1, 2).reshape(batch, count, module.attn_dim))
        projected = module.proj_drop(module.proj(out))
        assert isinstance(projected, Tensor)
        return projected

    return forward


def scale_gradient(x: Tensor, factor: float) -> Tensor:
    """``x`` itself, with its gradient times ``factor``; with 0 it is cut off the graph."""
    if factor == 0:
        return x.detach()
    return x if factor == 1 else _ScaledGradient.apply(x, factor)


class _ScaledGradient(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, x: Tensor, factor: float) -> Tensor:
        context.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient * context.factor, None


def _wide(x: Tensor) -> Tensor:
    """At least float32: statistics and ratios in half precision would change the forward values."""
    return x if x.dtype in (torch.float32, torch.float64) else x.float()

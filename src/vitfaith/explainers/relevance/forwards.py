"""Forward functions of single modules that compute what the module does and have the rules' gradient."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from vitfaith.explainers.relevance.gamma import linear_with_gamma
from vitfaith.explainers.relevance.support import LAYER_NORMS

AttentionRule = Literal["constant", "uniform"]
"""How attention passes gradients on: ``constant`` to the values alone, with the attention matrix held fixed (Ali et al.
2022, AH-rule; Mehri et al. 2025, Libra attention); ``uniform`` half to each factor of both products, so 1/4 to queries
and keys through the softmax's own gradient and 1/2 to values (Achtibat et al. 2024, uniform and softmax rules).
Rotary embeddings are linear in queries and keys, position biases are added constants: both keep their own gradient."""

GateRule = Literal["constant", "uniform"]
"""How ``act(g) ⊙ x`` of a gated MLP passes gradients on: ``constant`` to x alone, with the gate held fixed (the rule for
gates of Arras et al. 2017; used with CP-LRP by the code of Achtibat et al. 2024); ``uniform`` half to each factor, act
by its own rule (Achtibat et al. 2024, eq. 7; Mehri et al. 2025)."""

Forward = Callable[..., Tensor]
OnBias = Callable[[Tensor, Tensor], None]
"""Called with a bias (D,) and the sum (B, N, D) of which it is a part."""


def norm(module: Any) -> Forward:
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


def activation(module: nn.Module) -> Forward:
    """``x · [gate(x)]`` with a gate that has no gradient; at x = 0 the gate is its limit 1/2."""

    def forward(x: Tensor) -> Tensor:
        wide = _wide(x)
        with torch.no_grad():
            value = type(module).forward(module, wide.detach().clone())
            gate = torch.where(wide == 0, 0.5, value / wide)
        return (wide * gate).to(x.dtype)

    return forward


def gated_mlp(module: Any, rule: GateRule) -> Forward:
    """timm's ``SwiGLU`` or ``GluMlp`` with weighted gradients at the product of gate and value."""

    def forward(x: Tensor) -> Tensor:
        if hasattr(module, "fc1_g"):
            gate, value = module.fc1_g(x), module.fc1_x(x)
        else:
            first, second = module.fc1(x).chunk(2, module.chunk_dim)
            gate, value = (second, first) if module.gate_last else (first, second)
        gate = module.act(gate)
        hidden = gate.detach() * value if rule == "constant" else scale_gradient(gate * value, 0.5)
        out = module.drop2(module.fc2(module.norm(module.drop1(hidden))))
        assert isinstance(out, Tensor)
        return out

    return forward


def attention(module: Any, rule: AttentionRule, gamma: float, on_bias: OnBias | None) -> Forward:
    """The module's own forward, with weighted gradients at its fused product; ``gamma`` is of biased projections.

    Works for every timm attention, whatever comes before the product: rotary embeddings, position biases, query and key
    norms, grouped queries, learned queries.
    """

    def forward(*args: Any, **kwargs: Any) -> Tensor:
        with fused(module), _Product(module, rule, gamma, on_bias):
            out = type(module).forward(module, *args, **kwargs)
        assert isinstance(out, Tensor)
        return out

    return forward


class _Product(TorchFunctionMode):
    """Weights the gradients at ``scaled_dot_product_attention`` of one module."""

    def __init__(self, module: Any, rule: AttentionRule, gamma: float, on_bias: OnBias | None) -> None:
        super().__init__()
        self.module, self.gamma, self.on_bias = module, gamma, on_bias
        self.queries_keys, self.values = (0.0, 1.0) if rule == "constant" else (0.25, 0.5)

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func is functional.linear and getattr(self.module, "q_bias", None) is not None:
            return self._linear(*args, **kwargs)
        if func is not functional.scaled_dot_product_attention:
            return func(*args, **kwargs)
        query, key, value, *others = args
        query, key = scale_gradient(query, self.queries_keys), scale_gradient(key, self.queries_keys)
        kwargs.setdefault("scale", self.module.scale)
        return func(query, key, scale_gradient(value, self.values), *others, **kwargs)

    def _linear(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """A linear map inside attention; EVA's and BEiT's first one has a bias that its module does not know."""
        if weight is not self.module.qkv.weight:
            return functional.linear(x, weight, bias)
        out = linear_with_gamma(x, weight, bias, self.gamma) if self.gamma else functional.linear(x, weight, bias)
        if self.on_bias is not None:
            self.on_bias(bias, out)
        return out


@contextmanager
def fused(*modules: nn.Module) -> Iterator[None]:
    """Inside, timm attention modules take their fused path and add biases in one step, which changes rounding alone."""
    wanted = {"fused_attn": True, "qkv_bias_separate": False}
    before = [(vars(module), {k: vars(module)[k] for k in wanted if k in vars(module)}) for module in modules]
    try:
        for attributes, theirs in before:
            attributes.update({k: wanted[k] for k in theirs})
        yield
    finally:
        for attributes, theirs in before:
            attributes.update(theirs)


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

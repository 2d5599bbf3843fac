"""The γ-rule of linear layers, as a gradient: relevance of an input divided by the input.

Output z_j = Σ_i x_i w_ji + b_j distributes its relevance g_j z_j in proportion to its contributions; contributions with the
sign of z_j count 1 + γ times, including the bias: R_i = Σ_j c_ji / Σ_i c_ji · g_j z_j with c_ji = x_i w_ji (1 + γ) where the
product has z_j's sign and x_i w_ji otherwise. The sum in the denominator is at least as large as z_j, so nothing has to
be stabilised (Montavon et al. 2019, for inputs of both signs as Andéol et al. 2021; used for ViTs by Achtibat et al.
2024). γ = 0 is the ordinary gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.grad import conv2d_input

from vitfaith.models.fast.linear import linear

Apply = Callable[[Tensor, Tensor], Tensor]
"""(inputs, weight) → outputs without bias, and (gradient of the outputs, weight) → gradient of the inputs."""


def gamma_linear(layer: nn.Linear, gamma: float) -> Callable[[Tensor], Tensor]:
    """A forward of ``layer`` whose gradient follows the γ-rule."""

    def forward(inputs: Tensor) -> Tensor:
        return linear_with_gamma(inputs, layer.weight, layer.bias, gamma)

    return forward


def linear_with_gamma(inputs: Tensor, weight: Tensor, bias: Tensor | None, gamma: float) -> Tensor:
    """``inputs @ weight.T + bias`` whose gradient at the inputs follows the γ-rule."""

    def back(gradient: Tensor, weight: Tensor, _like: Tensor) -> Tensor:
        return linear(gradient, weight.t().contiguous(), None)

    outputs = linear(inputs, weight, bias)
    return _share(inputs, outputs, weight, bias, gamma, _without_bias, back)


def _without_bias(inputs: Tensor, weight: Tensor) -> Tensor:
    return linear(inputs, weight, None)


def gamma_convolution(layer: nn.Conv2d, gamma: float) -> Callable[[Tensor], Tensor]:
    """The same for a convolution without padding, such as a patch embedding."""

    def apply(inputs: Tensor, weight: Tensor) -> Tensor:
        return functional.conv2d(inputs, weight, None, layer.stride, layer.padding, layer.dilation, layer.groups)

    def back(gradient: Tensor, weight: Tensor, like: Tensor) -> Tensor:
        size = list(like.shape)
        found = conv2d_input(size, weight, gradient, layer.stride, layer.padding, layer.dilation, layer.groups)
        assert isinstance(found, Tensor)
        return found

    def forward(inputs: Tensor) -> Tensor:
        bias = None if layer.bias is None else layer.bias[:, None, None]
        outputs = apply(inputs, layer.weight)
        outputs = outputs if bias is None else outputs + bias
        return _share(inputs, outputs, layer.weight, bias, gamma, apply, back)

    return forward


def _share(
    inputs: Tensor,
    outputs: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    gamma: float,
    apply: Apply,
    back: Callable[[Tensor, Tensor, Tensor], Tensor],
) -> Tensor:
    """``outputs``, with the γ-rule as their gradient at ``inputs``."""
    found = _Gamma.apply(inputs, outputs.detach(), weight.detach(), bias, gamma, apply, back)
    assert isinstance(found, Tensor)
    return found


class _Gamma(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, inputs: Tensor, outputs: Tensor, weight: Tensor, bias: Any, *rule: Any) -> Tensor:
        context.save_for_backward(inputs, outputs, weight)
        context.bias, context.rule = None if bias is None else bias.detach(), rule
        return outputs.clone()

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        inputs, outputs, weight = context.saved_tensors
        gamma, apply, back = context.rule
        up, down = inputs.clamp(min=0), inputs.clamp(max=0)
        found = torch.zeros_like(inputs)
        for sign in (1, -1):
            # Weights by which a positive and a negative input contribute with this sign of the output.
            same = weight.clamp(min=0) if sign > 0 else weight.clamp(max=0)
            other = weight - same
            more = apply(up, same) + apply(down, other)
            if context.bias is not None:
                more = more + (context.bias.clamp(min=0) if sign > 0 else context.bias.clamp(max=0))
            chosen = outputs * sign > 0
            total = torch.where(chosen, outputs + gamma * more, 1)
            share = torch.where(chosen, gradient * (outputs / total), 0)
            found += torch.where(
                inputs >= 0, back(share, weight + gamma * same, inputs), back(share, weight + gamma * other, inputs)
            )
        return found, *(None for _ in range(6))

"""The redistribution rules of Chefer et al. (CVPR 2021, §3.1), one function each, all per sample.

Every function takes the values that entered a layer and the relevance of what left it, and returns the relevance of
what entered. Tensors are float32 or float64. Divisions go through :func:`stable_divide`, so no rule makes NaN.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.grad import conv2d_input

EPSILON = 1e-9
"""Added to every denominator, as the authors do. An exact zero denominator gives 0: that relevance is absorbed."""


def stable_divide(numerator: Tensor, denominator: Tensor) -> Tensor:
    """``numerator / (denominator + EPSILON)``, and 0 where the denominator is 0 or the shifted one vanishes."""
    shifted = denominator + EPSILON
    shifted.masked_fill_(denominator * shifted == 0, torch.inf)
    return numerator / shifted


def linear(inputs: Tensor, weight: Tensor, relevance: Tensor) -> Tensor:
    """The α = 1, β = 0 rule: relevance follows the positive contributions ``(x_i W_ji)⁺``.

    The bias takes no part, so the sum is kept wherever an output has a positive contribution.

    Args:
        inputs: (..., I) what entered the layer.
        weight: (O, I).
        relevance: (..., O).

    Returns:
        (..., I).
    """
    weight_up, weight_down = weight.clamp(min=0), weight.clamp(max=0)
    inputs_up, inputs_down = inputs.clamp(min=0), inputs.clamp(max=0)
    total = functional.linear(inputs_up, weight_up) + functional.linear(inputs_down, weight_down)
    share = stable_divide(relevance, total)
    return inputs_up * (share @ weight_up) + inputs_down * (share @ weight_down)


def product(left: Tensor, right: Tensor, relevance: Tensor) -> tuple[Tensor, Tensor]:
    """The rule for ``left @ right``: z-rule ``x ⊙ ∂Z/∂x · R/Z`` for each operand, halved so that both sum to R.

    Z has both signs, so relevance may grow where positive and negative contributions cancel.

    Args:
        left: (..., N, D).
        right: (..., D, M).
        relevance: (..., N, M).

    Returns:
        Relevance of ``left`` (..., N, D) and of ``right`` (..., D, M).
    """
    of_left, of_right = product_factors(left, right, relevance)
    return left * of_left, right * of_right


def product_factors(left: Tensor, right: Tensor, relevance: Tensor) -> tuple[Tensor, Tensor]:
    """The same as relevance divided by the operand, which passes through linear maps of it like a gradient."""
    share = stable_divide(relevance, left @ right) / 2
    return share @ right.mT, left.mT @ share


def gate(relevance: Tensor) -> Tensor:
    """The rule for ``act(g) ⊙ x``: the same z-rule, halved, which gives R/2 to each factor whatever their values.

    Chefer et al. have no gated MLPs; this is their rule for products. act is the identity, as other activations are.

    Args:
        relevance: (..., D) of the product.

    Returns:
        (..., 2 D) relevance of g, then of x.
    """
    return torch.cat([relevance / 2, relevance / 2], -1)


def residual(skip: Tensor, branch: Tensor, relevance: Tensor) -> tuple[Tensor, Tensor]:
    """The rule for ``skip + branch``: z-rule, then both parts rescaled so their sums add up to the sum of R.

    The parts get ``|Σ part| / (|Σ skip part| + |Σ branch part|)`` of the total. The sums run over all but the first
    axis: each image is conserved by itself, whatever else is in the batch.

    Args:
        skip: (B, ...) one summand.
        branch: (B, ...) the other one.
        relevance: (B, ...).

    Returns:
        Relevance of ``skip`` and of ``branch``, both (B, ...).
    """
    share = stable_divide(relevance, skip + branch)
    parts = (skip * share, branch * share)
    sums = [_per_image(part) for part in parts]
    total = _per_image(relevance)
    weight = sums[0].abs() + sums[1].abs()
    first, second = (
        part * stable_divide(stable_divide(size.abs(), weight) * total, size)
        for part, size in zip(parts, sums, strict=True)
    )
    return first, second


def copy(values: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """The rule for values read twice: the z-rule, which is the sum of both relevances up to :data:`EPSILON`.

    Kept in the authors' form ``x (R_1/x + R_2/x)``: the plain sum differs from their maps by up to 2e-5 where x is
    near 0, this by 1e-8.
    """
    return values * stable_divide(first + second, values)


def pixels(images: Tensor, weight: Tensor, stride: tuple[int, int], relevance: Tensor) -> Tensor:
    """The zᴮ rule (Montavon et al. 2017) for the first convolution, whose inputs lie between two bounds.

    The bounds are the least and greatest value of each image, over all channels, as in the authors' code. The bias
    takes no part.

    Args:
        images: (B, C, H, W) what entered the convolution.
        weight: (D, C, h, w).
        stride: of the convolution.
        relevance: (B, D, rows, columns).

    Returns:
        (B, C, H, W).
    """
    low = images.amin((1, 2, 3), keepdim=True).expand_as(images)
    high = images.amax((1, 2, 3), keepdim=True).expand_as(images)
    weight_up, weight_down = weight.clamp(min=0), weight.clamp(max=0)
    parts = ((images, weight, 1), (low, weight_up, -1), (high, weight_down, -1))
    total = sum(sign * functional.conv2d(x, w, stride=stride) for x, w, sign in parts)
    assert isinstance(total, Tensor)
    share = stable_divide(relevance, total)
    size = list(images.shape)
    out = torch.zeros_like(images)
    for x, w, sign in parts:
        out += sign * x * conv2d_input(size, w, share, stride=stride)
    return out


def pooled_mean(tokens: Tensor, relevance: Tensor) -> Tensor:
    """The α = 1 rule for a mean over tokens: a linear layer with positive weights, so ``x⁺`` shares the relevance.

    Chefer et al. have class-token heads only; this is their rule for linear layers applied to the average pool.

    Args:
        tokens: (B, N, D) what was averaged over N.
        relevance: (B, D).

    Returns:
        (B, N, D).
    """
    positive = tokens.clamp(min=0)
    return positive * stable_divide(relevance, positive.sum(1))[:, None]


def _per_image(tensor: Tensor) -> Tensor:
    return tensor.sum(tuple(range(1, tensor.ndim)), keepdim=True)

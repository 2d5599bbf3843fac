"""TokenTM, re-implemented from the paper: there is no public code to compare with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vitfaith.attribute.chain import chain, times
from vitfaith.attribute.registry import explainer
from vitfaith.errors import InputError
from vitfaith.lazy import torch
from vitfaith.registry import Parameters

if TYPE_CHECKING:
    from torch import Tensor, nn

    from vitfaith.attribute.context import Context


@explainer(
    "tokentm",
    family="one_pass",
    needs=("attention", "attention_gradient", "value", "hidden"),
    class_specific=True,
    citation="Wu et al., Token Transformation Matters (TokenTM), CVPR 2024; re-implemented from the paper",
)
def tokentm(context: Context, parameters: Parameters) -> Tensor:
    """Attention times gradient, weighted by how far each token keeps its length and direction when transformed.

    A token e that becomes t contributes with W(e, t) = ‖t‖/‖e‖ · exp(cos(e, t)) / mean over tokens of exp(cos(e, t)):
    length ratio times normalised exponential cosine correlation (NECC). From C_0 = diag(‖e_0‖), each layer does
    C ← C + E_h[(∇A⊙A)⁺·diag(W_h)]·C for the attention and C ← C + diag(W_mlp)·C for the MLP; the map is the class
    token's row. There is no public code. Our readings where the text leaves room: W is taken for each head with
    t = V_h·W_proj,h (layer scale included) and e the block's input; e of the MLP is the state after the attention.
    Costs the shared pass.

    Returns:
        (B, rows, columns) float32, not negative.

    Raises:
        InputError: the blocks gate or normalise the attention's output, so that heads do not add up.
    """
    capture = context.capture

    def step(row: Tensor, layer: int) -> Tensor:
        state, after = capture.hidden(layer), capture.hidden(layer + 1)
        attention = capture.attention(layer)
        moved = _transformed_values(capture.blocks[layer], capture.value(layer))
        middle = state + (attention @ moved).sum(1) + _projection_bias(capture.blocks[layer], state)
        row = row + row * transformation_weights(middle, after - middle)
        positive = (attention * capture.attention_gradient(layer)).clamp_min(0)
        weights = transformation_weights(state[:, None], moved)
        row = row + times(row, (positive * weights[:, :, None]).mean(1))
        return row * state.norm(dim=-1) if layer == 0 else row

    return chain(capture, step, method="tokentm")


def transformation_weights(before: Tensor, after: Tensor) -> Tensor:
    """W (…, N) ≥ 0 of tokens (…, N, D) before and after a transformation: length ratio times NECC."""
    ratio = after.norm(dim=-1) / before.norm(dim=-1).clamp_min(torch.finfo(before.dtype).tiny)
    correlation = torch.nn.functional.cosine_similarity(before, after, dim=-1).exp()
    return ratio * correlation / correlation.mean(-1, keepdim=True)


def _transformed_values(block: nn.Module, values: Tensor) -> Tensor:
    """(B, H, N, d) values to (B, H, N, D): what each head would add to the residual stream by attending to a token."""
    projection = _projection(block)
    heads, width = values.shape[1], values.shape[3]
    weight = projection.weight.float().unflatten(1, (heads, width))
    return torch.einsum("bhnd,ohd->bhno", values, weight) * _layer_scale(block, values)


def _projection_bias(block: nn.Module, like: Tensor) -> Tensor:
    bias = _projection(block).bias
    return torch.zeros_like(like[0, 0]) if bias is None else bias.float() * _layer_scale(block, like)


def _projection(block: nn.Module) -> nn.Linear:
    attention = getattr(block, "attn", None)
    projection = getattr(attention, "proj", None)
    plain = isinstance(getattr(attention, "norm", None), torch.nn.Identity | None)
    if not isinstance(projection, torch.nn.Linear) or not plain or getattr(attention, "gate", None) is not None:
        raise InputError(
            f"tokentm needs blocks whose attention ends in a plain projection, not {type(block).__name__}; leave it out"
        )
    return projection


def _layer_scale(block: nn.Module, like: Tensor) -> Tensor:
    """Factor (D,) or scalar on the attention's output: timm's LayerScale or BEiT's gamma_1."""
    gamma = getattr(getattr(block, "ls1", None), "gamma", None)
    gamma = getattr(block, "gamma_1", None) if gamma is None else gamma
    return torch.ones((), device=like.device) if gamma is None else gamma.float()

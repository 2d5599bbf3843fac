"""TokenTM, re-implemented from the paper: there is no public code to compare with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vitfaith.explainers.passes.chain import chain, times_heads
from vitfaith.explainers.passes.projection import output_projection, scale_of
from vitfaith.explainers.registry import explainer
from vitfaith.lazy import torch
from vitfaith.registry import Parameters

if TYPE_CHECKING:
    from torch import Tensor

    from vitfaith.explainers.passes.context import Context


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
        state, values = capture.hidden(layer), capture.value(layer)
        weight, gamma = output_projection(capture, layer, "tokentm"), scale_of(capture.blocks[layer])
        heads, width = values.shape[1], values.shape[3]
        added = capture.attention_output(layer)
        middle = state + (added if gamma is None else gamma * added)
        mlp = capture.hidden(layer + 1) - middle
        row = row + row * transformation_weights(_length(middle), _length(mlp), _dot(middle, mlp))
        # Lengths and products of V_h·W_proj,h through d×d and N×d matrices: the N×D tokens of each head are not formed.
        blocks = weight.unflatten(1, (heads, width)).transpose(0, 1)
        gram = blocks.transpose(1, 2) @ blocks
        lengths = _dot(values @ gram, values).clamp_min(0).sqrt()
        products = _dot((state @ weight).unflatten(-1, (heads, width)).transpose(1, 2), values)
        before = _length(state)
        weights = transformation_weights(before[:, None], lengths, products)
        row = row + (times_heads(row, capture.weighted_attention(layer)[1]) * weights).mean(1)
        return row * before if layer == 0 else row

    return chain(capture, step, method="tokentm")


def transformation_weights(before: Tensor, after: Tensor, product: Tensor) -> Tensor:
    """W (…, N) ≥ 0 from the lengths of N tokens before and after a transformation and their scalar products."""
    tiny = torch.finfo(before.dtype).tiny
    correlation = (product / (before * after).clamp_min(tiny)).exp()
    return after / before.clamp_min(tiny) * correlation / correlation.mean(-1, keepdim=True)


def _length(tokens: Tensor) -> Tensor:
    return tokens.norm(dim=-1)


def _dot(first: Tensor, second: Tensor) -> Tensor:
    """Scalar products along the last axis, without the array of their terms."""
    return torch.linalg.vecdot(first, second)

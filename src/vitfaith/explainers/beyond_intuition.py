"""Beyond Intuition: a rollout with weighted heads or tokens, times integrated attention gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from vitfaith.explainers.passes.path_pass import BlockPathParameters, attention_along_line
from vitfaith.explainers.passes.projection import output_projection
from vitfaith.explainers.registry import explainer
from vitfaith.lazy import torch
from vitfaith.models.rows import matmul

if TYPE_CHECKING:
    from torch import Tensor

    from vitfaith.explainers.passes.capture import Capture
    from vitfaith.explainers.passes.context import Context

CITATION = "Chen et al., Beyond Intuition: Rethinking Token Attributions inside Transformers, TMLR 2023"


@explainer(
    "beyond_intuition_head",
    family="path",
    needs=("attention", "attention_gradient"),
    class_specific=True,
    citation=CITATION,
    parameters=BlockPathParameters,
)
def beyond_intuition_head(context: Context, parameters: BlockPathParameters) -> Tensor:
    """Rollout with heads weighted by attention and gradient, times integrated attention gradients.

    R ← R + (Σ_h I_h A_h) R from R = 1, with I_h the mean of |A_hᵀ ∇A_h| over all token pairs, scaled to sum to 1 over
    the heads of the image; map = R ⊙ E_h (∫∇A_L dα)⁺ in the read-out row (mean over rows where a model reads several
    tokens). The authors use 20 equidistant α: ``steps: 20, rule: uniform, baseline: model_mean``.

    Cost per image: 1 forward and backward (the shared pass) + ``steps`` forwards and backwards (shared with every
    path explainer of equal settings).

    Returns:
        (B, rows, columns) float32, not negative; NaN where all gradients of a block vanish.

    Raises:
        ConfigError: the model has no block ``start``.
    """

    def transition(capture: Capture, block: int) -> Tensor:
        attention = capture.attention(block)
        weight = matmul(attention.transpose(-2, -1), capture.attention_gradient(block)).abs().mean((-2, -1))
        return torch.einsum("bh,bhij->bij", weight / weight.sum(1, keepdim=True), attention)

    return _rollout(context, parameters, transition)


@explainer(
    "beyond_intuition_token",
    family="path",
    needs=("attention", "value", "hidden"),
    class_specific=True,
    citation=CITATION,
    parameters=BlockPathParameters,
)
def beyond_intuition_token(context: Context, parameters: BlockPathParameters) -> Tensor:
    """Rollout with tokens weighted by how much attention changes them, times integrated attention gradients.

    R ← R + (E_h A) diag(‖v W_o‖ / ‖z‖) R from R = 1, with v the values of a token, W_o the output projection without
    its bias and with the branch's scale (LayerScale, γ), z the token as it enters the block; map = R ⊙ E_h (∫∇A_L dα)⁺ in the read-out row (mean over rows where
    a model reads several tokens). The authors use 20 equidistant α: ``steps: 20, rule: uniform, baseline: model_mean``.

    Cost per image: 1 forward (the shared pass) + ``steps`` forwards and backwards (shared with every path explainer
    of equal settings).

    Returns:
        (B, rows, columns) float32, not negative.

    Raises:
        ConfigError: the model has no block ``start``.
        InputError: a block has no output projection of its values (``attn.proj``), or gates or normalises its output.
    """

    def transition(capture: Capture, block: int) -> Tensor:
        weight = output_projection(capture, block, "beyond_intuition_token")
        written = capture.value(block).transpose(1, 2).flatten(2) @ weight.T
        ratio = written.norm(dim=-1) / capture.hidden(block).norm(dim=-1)
        return capture.attention(block).mean(1) * ratio[:, None, :]

    return _rollout(context, parameters, transition)


def _rollout(context: Context, parameters: BlockPathParameters, transition: Callable[[Capture, int], Tensor]) -> Tensor:
    capture, weight = context.capture, attention_along_line(context, parameters)
    # Only the read-out rows of R are asked for, so they are multiplied from the left instead of the whole of R.
    rows = torch.eye(weight.shape[-1], device=weight.device)[capture.readout].expand(len(weight), -1, -1)
    for block in reversed(range(parameters.start, capture.depth)):
        rows = rows + matmul(rows, transition(capture, block))
    return capture.to_grid(capture.read(rows * weight))

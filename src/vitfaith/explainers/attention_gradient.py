"""Explainers that weigh attention by the gradient of the class logit at it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from vitfaith.explainers.attention import discard_lowest, times_with_residual
from vitfaith.explainers.passes.chain import chain, times_heads
from vitfaith.explainers.registry import Explain, explainer
from vitfaith.models.rows import sigmoid
from vitfaith.registry import Parameters

if TYPE_CHECKING:
    from torch import Tensor

    from vitfaith.explainers.passes.context import Context


class StartLayerParameters(Parameters):
    """Settings of ``transformer_mm``."""

    start_layer: int = Field(0, description="first block of the product; negative numbers count from the last")


class GradRolloutParameters(Parameters):
    """Settings of ``grad_attention_rollout``."""

    clamp: Literal["after_mean", "before_mean"] = Field(
        "after_mean", description="whether negative entries go after or before the mean over heads"
    )
    discard_ratio: float = Field(0.0, ge=0, lt=1, description="fraction of each matrix's lowest entries set to 0")
    start_layer: int = Field(0, ge=0, description="first block of the product")


class AttentionGradCamParameters(Parameters):
    """Settings of ``attention_gradcam``."""

    layer: int = Field(-1, description="block; negative numbers count from the last")


class AttCatParameters(Parameters):
    """Settings of ``attcat``."""

    states: Literal["input", "output"] = Field("input", description="token states of a block that are read")


def _weighted(name: str, parameters: type[Parameters], citation: str) -> Callable[[Explain], Explain]:
    return explainer(
        name,
        family="one_pass",
        needs=("attention", "attention_gradient"),
        class_specific=True,
        citation=citation,
        parameters=parameters,
    )


@_weighted(
    "grad_attention_rollout",
    GradRolloutParameters,
    "Gildenblat, Exploring Explainability for Vision Transformers (vit-explain), 2020",
)
def grad_attention_rollout(context: Context, parameters: GradRolloutParameters) -> Tensor:
    """Rollout of attention times its gradient.

    In each layer (E_h ∇A⊙A)⁺, or E_h (∇A⊙A)⁺ with ``clamp: before_mean``; then as ``attention_rollout``: discard, add
    the identity, divide rows by their sum. vit-explain discards 0.9 by default; here nothing is. Costs the shared pass.

    Returns:
        (B, rows, columns) float32, not negative.

    Raises:
        ConfigError: ``start_layer`` is no block of the model.
    """
    capture = context.capture

    def step(row: Tensor, layer: int) -> Tensor:
        mean, positive = capture.weighted_attention(layer)
        fused = mean.clamp_min(0) if parameters.clamp == "after_mean" else positive.mean(1)
        return times_with_residual(row, discard_lowest(fused, parameters.discard_ratio, capture.prefix_tokens))

    return chain(capture, step, method="grad_attention_rollout", start_layer=parameters.start_layer)


@_weighted(
    "transformer_mm",
    StartLayerParameters,
    "Chefer et al., Generic Attention-model Explainability (Transformer-MM), ICCV 2021",
)
def transformer_mm(context: Context, parameters: StartLayerParameters) -> Tensor:
    """Relevance R ← R + E_h(∇A⊙A)⁺·R over the layers, from R = I.

    Equations 5 and 6 of the paper; negative entries go before the mean over heads, and rows are not normalised. The
    map is the class token's row; for models that pool patches, the mean over the pooled rows. Costs the shared pass.

    Returns:
        (B, rows, columns) float32, not negative.

    Raises:
        ConfigError: ``start_layer`` is no block of the model.
    """
    capture = context.capture

    def step(row: Tensor, layer: int) -> Tensor:
        return row + times_heads(row, capture.weighted_attention(layer)[1]).mean(1)

    return chain(capture, step, method="transformer_mm", start_layer=parameters.start_layer)


@_weighted(
    "attention_gradcam",
    AttentionGradCamParameters,
    "Grad-CAM on attention, baseline of Chefer et al., Transformer Interpretability, CVPR 2021",
)
def attention_gradcam(context: Context, parameters: AttentionGradCamParameters) -> Tensor:
    """Class-token attention of one layer, heads weighted by their mean gradient.

    (E_h[ mean_j ∇A[h, 0, j] · A[h, 0, :] ])⁺ with j over patches. Models that pool patches give the mean over the rows
    that the head reads instead of row 0, for A and for ∇A. Costs the shared pass.

    Returns:
        (B, rows, columns) float32, not negative; zero everywhere where all heads count against the class.
    """
    capture = context.capture
    rows = capture.readout
    attention = capture.to_grid(capture.read(capture.attention(parameters.layer, rows)))
    gradient = capture.to_grid(capture.read(capture.attention_gradient(parameters.layer, rows)))
    return (gradient.mean((-2, -1), keepdim=True) * attention).mean(1).clamp_min(0)


@explainer(
    "attcat",
    family="one_pass",
    needs=("attention", "hidden", "hidden_gradient"),
    class_specific=True,
    citation="Qiang et al., AttCAT: Explaining Transformers via Attentive Class Activation Tokens, NeurIPS 2022",
    parameters=AttCatParameters,
)
def attcat(context: Context, parameters: AttCatParameters) -> Tensor:
    """Token states times gradients, weighted by the attention that the token receives.

    Σ_l (E_h E_i A_l[h, i, j])·Σ_d (X_l ⊙ ∂y/∂X_l)[j, d], with X_l the input of block l as in the authors' code; their
    text reads its output (``states: output``). Needs no class token. Costs the shared pass.

    Returns:
        (B, rows, columns) float32, signed.
    """
    capture = context.capture
    shift = int(parameters.states == "output")
    impact = sum(
        capture.attention(layer).mean((1, 2))
        * (capture.hidden(layer + shift) * capture.hidden_gradient(layer + shift)).sum(-1)
        for layer in range(capture.depth)
    )
    return capture.to_grid(impact)  # type: ignore[arg-type]


@explainer(
    "agcam",
    family="one_pass",
    needs=("attention_scores", "attention_gradient"),
    class_specific=True,
    citation="Leem and Seo, Attention Guided CAM, AAAI 2024",
)
def agcam(context: Context, parameters: Parameters) -> Tensor:
    """Positive attention gradients times the sigmoid of the scores, summed over heads and layers.

    Σ_l Σ_h (∇A_l[h, 0, :])⁺ ⊙ sigmoid(S_l[h, 0, :]) with S the scaled scores before the softmax. Models that pool
    patches give the mean over the rows that the head reads. Costs the shared pass.

    Returns:
        (B, rows, columns) float32, not negative.
    """
    capture = context.capture
    rows = capture.readout
    total = sum(
        (capture.attention_gradient(layer, rows).clamp_min(0) * sigmoid(capture.attention_scores(layer, rows))).sum(1)
        for layer in range(capture.depth)
    )
    return capture.to_grid(capture.read(total))  # type: ignore[arg-type]

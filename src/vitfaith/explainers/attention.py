"""Explainers that read attention alone: raw attention and attention rollout."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from vitfaith.explainers.passes.chain import HeadFusion, chain, fuse_heads, times, times_heads
from vitfaith.explainers.registry import explainer
from vitfaith.registry import Parameters

if TYPE_CHECKING:
    from torch import Tensor

    from vitfaith.explainers.passes.context import Context


class RawAttentionParameters(Parameters):
    """Settings of ``raw_attention``."""

    layer: int = Field(-1, description="block; negative numbers count from the last")
    head_fusion: HeadFusion = Field("mean", description="how heads become one map")


class RolloutParameters(Parameters):
    """Settings of ``attention_rollout``."""

    head_fusion: HeadFusion = Field("mean", description="how heads become one matrix")
    discard_ratio: float = Field(0.0, ge=0, lt=1, description="fraction of each matrix's lowest entries set to 0")
    start_layer: int = Field(0, ge=0, description="first block of the product")


@explainer(
    "raw_attention",
    family="one_pass",
    needs=("attention",),
    class_specific=False,
    citation="Dosovitskiy et al., An Image is Worth 16x16 Words, ICLR 2021; Caron et al., DINO, ICCV 2021",
    parameters=RawAttentionParameters,
)
def raw_attention(context: Context, parameters: RawAttentionParameters) -> Tensor:
    """Attention of the class token to the patches in one layer.

    Models that pool their patches have no class token: the map is then the mean over the rows that the head reads,
    which is how much each patch is attended to. Costs the shared forward.

    Returns:
        (B, rows, columns) float32, not negative.
    """
    capture = context.capture
    fused = fuse_heads(capture.attention(parameters.layer, capture.readout), parameters.head_fusion)
    return capture.to_grid(capture.read(fused))


@explainer(
    "attention_rollout",
    family="one_pass",
    needs=("attention",),
    class_specific=False,
    citation="Abnar and Zuidema, Quantifying Attention Flow in Transformers, ACL 2020",
    parameters=RolloutParameters,
)
def attention_rollout(context: Context, parameters: RolloutParameters) -> Tensor:
    """Product over layers of fused attention plus identity.

    In each layer: fuse the heads; set the ``discard_ratio`` lowest entries of the matrix to 0; add the identity for
    the residual; divide each row by its sum. Discarding comes before the identity, as in vit-explain; packages that
    discard after it can lose residuals. Attention to the class token is never discarded. Without discarding this is
    §3 of the paper: ½A + ½I, whose rows sum to 1. Costs the shared forward.

    Returns:
        (B, rows, columns) float32, not negative.

    Raises:
        ConfigError: ``start_layer`` is no block of the model.
    """
    capture = context.capture

    def step(row: Tensor, layer: int) -> Tensor:
        if parameters.head_fusion == "mean" and parameters.discard_ratio == 0:
            return (row + times_heads(row, capture.attention(layer)).mean(1)) / 2  # rows of attention sum to 1
        fused = fuse_heads(capture.attention(layer), parameters.head_fusion)
        return times_with_residual(row, discard_lowest(fused, parameters.discard_ratio, capture.prefix_tokens))

    return chain(capture, step, method="attention_rollout", start_layer=parameters.start_layer)


def times_with_residual(row: Tensor, matrix: Tensor) -> Tensor:
    """row·(matrix + I) with the rows of (matrix + I) divided by their sum: (B, N) by (B, N, N), not formed."""
    scaled = row / (matrix.sum(-1) + 1)
    return scaled + times(scaled, matrix)


def discard_lowest(matrix: Tensor, ratio: float, prefix_tokens: int) -> Tensor:
    """The ⌊ratio·N²⌋ lowest entries of each (N, N) matrix set to 0, save column 0 if it is a prefix token's."""
    count = int(ratio * matrix[0].numel())
    if count == 0:
        return matrix
    threshold = matrix.flatten(1).kthvalue(count, 1).values
    kept = matrix > threshold[:, None, None]
    if prefix_tokens:
        kept[:, :, 0] = True
    return matrix * kept

"""Layer-wise relevance propagation after Chefer et al.: one propagation, four maps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from vitfaith.errors import ConfigError
from vitfaith.explainers.passes import masking
from vitfaith.explainers.registry import PixelLevel, explainer
from vitfaith.lazy import torch
from vitfaith.registry import Parameters

if TYPE_CHECKING:
    from torch import Tensor

    from vitfaith.explainers.passes.context import Context
    from vitfaith.explainers.relevance.relprop import Relevance


class RelevanceParameters(Parameters):
    """Settings of ``partial_lrp``."""

    precision: Literal["float64", "float32"] = Field(
        "float64",
        description="precision of the propagation; float32 is faster on some GPUs, but off by tens of percent in deep models",
    )


class LrpParameters(RelevanceParameters, PixelLevel):
    """Settings of ``lrp``."""


class RolloutParameters(RelevanceParameters):
    """Settings of ``transformer_attribution`` and ``lrp_rollout``."""

    start_layer: int = Field(
        0,
        ge=0,
        description="first block of the product; the authors' evaluation scripts use 1, their paper and class 0",
    )


CHEFER = "Chefer, Gur and Wolf, Transformer Interpretability Beyond Attention Visualization, CVPR 2021"


@explainer(
    "lrp",
    family="relevance",
    class_specific=True,
    citation="Bach et al., On Pixel-Wise Explanations by Layer-Wise Relevance Propagation, PLoS ONE 2015; rules: "
    + CHEFER,
    parameters=LrpParameters,
)
def lrp(context: Context, parameters: LrpParameters) -> Tensor:
    """Relevance of the logit carried back to the pixels (α = 1), summed over channels and patch.

    Beyond Chefer et al.'s ViT it covers what today's backbones have, by their own rules: the gate of a gated MLP is a factor of a
    product, rotary embeddings are part of the product of queries and keys, position biases take no part, layer scale is
    part of the linear layer before it, and attention pooling is an attention whose learned query takes no part
    (:func:`vitfaith.explainers.relevance.relprop.propagate`). Cost per image by all four relevance maps: 1 forward, 1 backward, and rules worth about 5 forwards.

    Returns:
        (B, rows, columns) float32, signed, in units of the logit's starting relevance 1.

    Raises:
        InputError: the model has no rules (see :func:`vitfaith.explainers.relevance.support.check_relprop`).
    """
    pixels = _relevance(context, parameters).pixels
    return masking.at_resolution(pixels, context.classifier.patches, parameters.resolution, pool="sum").float()


@explainer(
    "partial_lrp",
    family="relevance",
    class_specific=True,
    citation="Voita et al., Analyzing Multi-Head Self-Attention, ACL 2019; as in " + CHEFER,
    parameters=RelevanceParameters,
)
def partial_lrp(context: Context, parameters: RelevanceParameters) -> Tensor:
    """Positive relevance of the last block's attention from the head's tokens to the patches, mean over heads.

    Where the model pools by attention, that is the last one.

    Cost, errors: as ``lrp``.

    Returns:
        (B, rows, columns) float32, non-negative.
    """
    return context.on_grid(_relevance(context, parameters).last)


@explainer(
    "transformer_attribution",
    family="relevance",
    class_specific=True,
    citation=CHEFER,
    parameters=RolloutParameters,
)
def transformer_attribution(context: Context, parameters: RolloutParameters) -> Tensor:
    """Rollout of positive gradient × relevance of every block's attention (§3.2 of the paper).

    ``Π_l (I + E_h (∇A_l ⊙ R^{A_l})⁺)``, rows not normalised, read at the head's tokens; of a model that pools by attention,
    at the pooling's own row ``E_h (∇A ⊙ R^A)⁺``. Cost, errors: as ``lrp``.

    Returns:
        (B, rows, columns) float32, non-negative.

    Raises:
        ConfigError: ``start_layer`` is not a block of the model.
    """
    return context.on_grid(_from_layer(_relevance(context, parameters).attribution, parameters))


@explainer(
    "lrp_rollout",
    family="relevance",
    class_specific=True,
    citation="the 'rollout' of the code of " + CHEFER,
    parameters=RolloutParameters,
)
def lrp_rollout(context: Context, parameters: RolloutParameters) -> Tensor:
    """Rollout of positive relevance of every block's attention, without gradients.

    ``Π_l (I + E_h (R^{A_l})⁺)``, rows not normalised. Some published "rollout" baselines are this map, not attention
    rollout. Cost, errors: as ``transformer_attribution``.

    Returns:
        (B, rows, columns) float32, non-negative.
    """
    return context.on_grid(_from_layer(_relevance(context, parameters).rollout, parameters))


def _relevance(context: Context, parameters: RelevanceParameters) -> Relevance:
    """The propagation of this batch, run once for all maps of one precision."""
    from vitfaith.explainers.relevance.relprop import propagate

    def run() -> Relevance:
        return propagate(
            context.classifier,
            context.images,
            context.targets,
            dtype=getattr(torch, parameters.precision),
            batch_size=context.batch_size,
        )

    return context.once(f"lrp {parameters.precision}", run)


def _from_layer(rollouts: Tensor, parameters: RolloutParameters) -> Tensor:
    layers = rollouts.shape[1]
    if parameters.start_layer >= layers:
        raise ConfigError(f"start_layer {parameters.start_layer} is not a block of this model; give 0 to {layers - 1}")
    return rollouts[:, parameters.start_layer]

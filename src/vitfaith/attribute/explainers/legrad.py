"""LeGrad: how sensitive each layer's own class score is to its attention."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from vitfaith.attribute.registry import explainer
from vitfaith.errors import ConfigError
from vitfaith.lazy import torch
from vitfaith.registry import Parameters

if TYPE_CHECKING:
    from torch import Tensor

    from vitfaith.attribute.context import Context


class LeGradParameters(Parameters):
    """Settings of ``legrad``."""

    start_layer: int = Field(0, ge=0, description="first block that counts")


@explainer(
    "legrad",
    family="one_pass",
    needs=("layer_scores",),
    class_specific=True,
    citation="Bousselham et al., LeGrad: An Explainability Method for Vision Transformers, arXiv 2404.03214",
    parameters=LeGradParameters,
)
def legrad(context: Context, parameters: LeGradParameters) -> Tensor:
    """Positive gradients of each layer's class score at its attention, averaged.

    With y_l the class logit that the model's norm and head give to the mean token after block l (§3.2 of the paper),
    the map is the mean over layers, heads and queries i of (∂y_l/∂A_l[h, i, :])⁺. Models with attention pooling keep
    it in place of the mean.

    Costs the shared forward and, for each block, a partial backward through the head and that block's MLP and
    projection; none of them enters an earlier block, and the shared backward itself is not needed.

    Returns:
        (B, rows, columns) float32, not negative.

    Raises:
        ConfigError: ``start_layer`` is no block of the model.
    """
    capture = context.capture
    first, depth = parameters.start_layer, capture.depth
    if first >= depth:
        raise ConfigError(f"legrad: start_layer is {first}, but the model has {depth} blocks; set a lower one")
    layers = [capture.layer_score_gradient(layer).clamp_min_(0).mean((1, 2)) for layer in range(first, depth)]
    return capture.to_grid(torch.stack(layers).mean(0))

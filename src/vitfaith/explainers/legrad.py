"""LeGrad: how sensitive each layer's own class score is to its attention."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from vitfaith.errors import ConfigError
from vitfaith.explainers.registry import explainer
from vitfaith.models.rows import total
from vitfaith.registry import Parameters

if TYPE_CHECKING:
    from torch import Tensor

    from vitfaith.explainers.passes.context import Context


class LeGradParameters(Parameters):
    """Settings of ``legrad``."""

    start_layer: int = Field(0, ge=0, description="first block that counts")
    pooler_norm: bool = Field(
        False,
        description="models that pool by attention: the model's final norm before the pooler; without it as in the authors' code",
    )


@explainer(
    "legrad",
    family="one_pass",
    needs=("layer_scores", "hidden"),
    class_specific=True,
    citation="Bousselham et al., LeGrad: An Explainability Method for Vision Transformers, arXiv 2404.03214",
    parameters=LeGradParameters,
)
def legrad(context: Context, parameters: LeGradParameters) -> Tensor:
    """Positive gradients of each layer's class score at its attention, averaged.

    With y_l the class logit that the model's norm and head give to the mean token after block l (§3.2 of the paper),
    the map is the mean over layers, heads and queries i of (∂y_l/∂A_l[h, i, :])⁺.

    Models that pool by attention (SigLIP) follow the authors' variant for them: y_l is the logit that pooler and head give to
    the tokens after block l, and A_l the pooler's own attention, from its learned queries to the patches. The authors' code
    hands the pooler the tokens without the model's final norm; ``pooler_norm`` keeps it, so that the last y_l is the
    model's logit.

    Costs the shared forward and, for each block, a partial backward through the head and that block's MLP and
    projection; none of them enters an earlier block, and the shared backward itself is not needed. With attention pooling
    a forward and backward of pooler and head for each block.

    Returns:
        (B, rows, columns) float32, not negative.

    Raises:
        ConfigError: ``start_layer`` is no block of the model.
    """
    from vitfaith.explainers.passes.pooler import latent_pooler, pooler_gradient

    capture = context.capture
    first, depth = parameters.start_layer, capture.depth
    if first >= depth:
        raise ConfigError(f"legrad: start_layer is {first}, but the model has {depth} blocks; set a lower one")
    pool = latent_pooler(context.classifier.backbone)
    if pool is not None:
        layers = [
            pooler_gradient(
                context.classifier.backbone,
                pool,
                capture.hidden(layer + 1),
                context.targets,
                norm=parameters.pooler_norm,
            )
            .clamp_min_(0)
            .mean((1, 2))
            for layer in range(first, depth)
        ]
    else:
        layers = [capture.layer_score_gradient(layer).clamp_min_(0).mean((1, 2)) for layer in range(first, depth)]
    return capture.to_grid(total(layers) / len(layers))

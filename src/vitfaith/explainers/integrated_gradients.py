"""Integrated gradients: what each patch adds to the logit on the way from a baseline to the image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vitfaith.explainers.passes import masking
from vitfaith.explainers.passes.path_pass import PathParameters, path_pass
from vitfaith.explainers.registry import PixelLevel, explainer

if TYPE_CHECKING:
    from torch import Tensor

    from vitfaith.explainers.passes.context import Context


class IntegratedGradientsParameters(PathParameters, PixelLevel):
    """Settings of ``integrated_gradients``."""


@explainer(
    "integrated_gradients",
    family="path",
    class_specific=True,
    citation="Sundararajan, Taly and Yan, Axiomatic Attribution for Deep Networks, ICML 2017",
    parameters=IntegratedGradientsParameters,
    hierarchical=True,
)
def integrated_gradients(context: Context, parameters: IntegratedGradientsParameters) -> Tensor:
    """Image minus baseline, times the gradient integrated on the line between them.

    (x - b) ⊙ ∫₀¹ ∇y(b + α(x - b)) dα for the logit y (eq. 1), summed over channels and over each patch, so that the
    map sums to y(x) - y(b) up to the error of the ``steps`` nodes.

    Cost per image: ``steps`` forwards and backwards, shared with every path explainer of equal settings.

    Returns:
        (B, rows, columns) float32, signed, in logits.
    """
    averages = path_pass(context, parameters)
    pixels = ((context.images - averages.baseline) * averages.input_gradient).sum(1)
    return masking.at_resolution(pixels, context.classifier.patches, parameters.resolution, pool="sum")

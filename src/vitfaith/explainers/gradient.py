"""Explainers that read the gradient of the class logit at the pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from vitfaith.explainers.passes import masking
from vitfaith.explainers.registry import PixelLevel, explainer

if TYPE_CHECKING:
    from torch import Tensor

    from vitfaith.explainers.passes.context import Context


class SaliencyParameters(PixelLevel):
    """Settings of ``saliency``."""

    channels: Literal["max", "mean"] = Field("max", description="how colour channels become one value")


class InputXGradientParameters(PixelLevel):
    """Settings of ``input_x_gradient``."""

    zero: Literal["black", "model_mean"] = Field(
        "black", description="the image whose attribution is zero: black, or what the normalisation subtracts"
    )


@explainer(
    "saliency",
    family="one_pass",
    needs=("input_gradient",),
    class_specific=True,
    citation="Simonyan et al., Deep Inside Convolutional Networks, ICLR Workshop 2014",
    parameters=SaliencyParameters,
    hierarchical=True,
)
def saliency(context: Context, parameters: SaliencyParameters) -> Tensor:
    """Magnitude of the gradient at the pixels.

    |∂y/∂x|, maximum over colour channels (§3.1 of the paper) or mean, then the mean over the pixels of each patch.
    Costs the shared pass.

    Returns:
        (B, rows, columns) float32, not negative, in logits per pixel unit.
    """
    magnitude = context.capture.input_gradient.abs()
    pixels = magnitude.amax(1) if parameters.channels == "max" else magnitude.mean(1)
    return masking.at_resolution(pixels, context.classifier.patches, parameters.resolution, pool="mean")


@explainer(
    "input_x_gradient",
    family="one_pass",
    needs=("input_gradient",),
    class_specific=True,
    citation="Shrikumar et al., Not Just a Black Box, 2016",
    parameters=InputXGradientParameters,
    hierarchical=True,
)
def input_x_gradient(context: Context, parameters: InputXGradientParameters) -> Tensor:
    """Input times gradient: the first-order effect of blackening the pixels.

    (x - z)⊙∂y/∂x, summed over the colour channels and pixels of each patch, so the map's sum equals the sum over
    pixels. z is black (0), or the mean of the model's normalisation, which equals multiplying the normalised input
    by its gradient. Costs the shared pass.

    Returns:
        (B, rows, columns) float32, signed, in logits.
    """
    images = context.images
    if parameters.zero == "model_mean":
        images = images - masking.fill_values(context.classifier, images, "model_mean")
    pixels = (images * context.capture.input_gradient).sum(1)
    return masking.at_resolution(pixels, context.classifier.patches, parameters.resolution, pool="sum")

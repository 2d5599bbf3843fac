"""SmoothGrad and VarGrad: gradients over noisy copies of the image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from vitfaith.explainers.passes import masking
from vitfaith.explainers.passes.path_pass import gradient_passes
from vitfaith.explainers.registry import PixelLevel, explainer
from vitfaith.lazy import torch
from vitfaith.rng import normal
from vitfaith.transfer import upload

if TYPE_CHECKING:
    from torch import Tensor

    from vitfaith.explainers.passes.capture import Need
    from vitfaith.explainers.passes.context import Context


class SmoothgradParameters(PixelLevel):
    """Settings of ``smoothgrad``."""

    samples: int = Field(32, ge=1, description="noisy copies per image")
    noise: float = Field(0.15, ge=0, description="standard deviation of the noise, as a share of the image's range")
    quantity: Literal["gradient", "saliency", "input_x_gradient"] = Field(
        "gradient", description="averaged quantity: signed gradients (the paper), their magnitudes, or input × gradient"
    )
    statistic: Literal["mean", "square", "variance"] = Field(
        "mean", description="mean (SmoothGrad), mean square (SmoothGrad²) or variance (VarGrad) over the copies"
    )
    channels: Literal["max", "mean"] = Field(
        "max", description="how the magnitudes of the colour channels are joined; input × gradient is summed"
    )


@explainer(
    "smoothgrad",
    family="path",
    class_specific=True,
    citation="Smilkov et al., SmoothGrad: removing noise by adding noise, 2017; VarGrad: Adebayo et al., 2018",
    parameters=SmoothgradParameters,
    hierarchical=True,
    stochastic=True,
)
def smoothgrad(context: Context, parameters: SmoothgradParameters) -> Tensor:
    """Gradient of the logit, averaged over noisy copies of the image.

    1/n Σ_i ∇y(x + σ ε_i) with σ = ``noise`` · (max x - min x) of each image (Smilkov et al., §3). Copies are not
    clipped to [0, 1]. Copy i is the same whatever ``samples`` is, so that more samples only refine the map.
    ``gradient`` takes the magnitude after the mean, ``saliency`` before it.

    Cost per image: ``samples`` forwards and backwards.

    Returns:
        (B, rows, columns) float32: magnitudes are averaged over each patch; input × gradient is signed and summed
        over channels and over each patch.
    """
    images = context.images
    spread = parameters.noise * (images.amax((1, 2, 3)) - images.amin((1, 2, 3)))

    def build(part: slice, start: int, stop: int) -> Tensor:
        ids = context.image_ids[part]
        draws = [
            normal(context.seed, ids, f"smoothgrad-{copy}", images.shape[1:], context.sample)
            for copy in range(start, stop)
        ]
        return images[part] + spread[part].view(-1, 1, 1, 1) * upload(torch.stack(draws), images.device)

    # Double precision, because a variance is the small difference of two sums.
    first = torch.zeros_like(images, dtype=torch.float64)
    second = torch.zeros_like(first)
    needed: frozenset[Need] = frozenset({"input_gradient"})
    for part, start, stop, copies, capture in gradient_passes(context, parameters.samples, build, needed):
        values = capture.input_gradient.unflatten(0, (stop - start, -1)).double()
        if parameters.quantity == "saliency":
            values = values.abs()
        elif parameters.quantity == "input_x_gradient":
            values = values * copies
        first[part] += values.sum(0)
        second[part] += values.square().sum(0)
    mean, square = first / parameters.samples, second / parameters.samples
    field = {"mean": mean, "square": square, "variance": (square - mean.square()).clamp_min(0)}[parameters.statistic]
    if parameters.quantity == "input_x_gradient":
        return masking.at_resolution(
            field.float().sum(1), context.classifier.patches, parameters.resolution, pool="sum"
        )
    magnitude = field.float().abs()
    joined = magnitude.amax(1) if parameters.channels == "max" else magnitude.mean(1)
    return masking.at_resolution(joined, context.classifier.patches, parameters.resolution, pool="mean")

"""Fills that depend only on the image, and noise: one value per pixel, independent of the removed set."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from vitfaith.lazy import torch
from vitfaith.metrics.fills.registry import fill
from vitfaith.models import colours
from vitfaith.registry import Parameters
from vitfaith.rng import uniform

if TYPE_CHECKING:
    from torch import Tensor

    from vitfaith.metrics.context import ScoreContext


class BlurParameters(Parameters):
    """Width of the Gaussian, in pixels (RISE: σ 5 on 224-pixel images, kernel of 11 pixels)."""

    sigma: float = Field(5.0, gt=0, description="standard deviation, pixels")
    kernel: int = Field(11, ge=1, description="width of the kernel, pixels")


class NoiseParameters(Parameters):
    """Number of the draw among several independent ones."""

    draw: int = Field(0, ge=0, description="number of the noise field among several independent ones")


@fill("image_mean", citation="Wu et al., 2024 (SaCo)")
def image_mean(context: ScoreContext, parameters: Parameters) -> Tensor:
    """One grey value per image: the mean over all its pixels and channels."""
    return colours.image_mean(context.images)


@fill("channel_mean")
def channel_mean(context: ScoreContext, parameters: Parameters) -> Tensor:
    """The image's mean colour."""
    return colours.channel_mean(context.images)


@fill("black", citation="Chefer et al., 2021")
def black(context: ScoreContext, parameters: Parameters) -> Tensor:
    """Zero in pixel units, before normalisation."""
    return colours.black(context.images)


@fill("blur", citation="Petsiuk et al., 2018 (RISE)", parameters=BlurParameters)
def blur(context: ScoreContext, parameters: BlurParameters) -> Tensor:
    """The image after a Gaussian blur (normalised kernel; edges are repeated)."""
    images = context.images
    offset = torch.arange(parameters.kernel, device=images.device, dtype=images.dtype) - (parameters.kernel - 1) / 2
    weight = torch.exp(-0.5 * (offset / parameters.sigma) ** 2)
    weight = (weight / weight.sum()).expand(images.shape[1], 1, 1, -1)
    before, after = (parameters.kernel - 1) // 2, parameters.kernel // 2
    padded = torch.nn.functional.pad(images, (before, after, before, after), mode="replicate")
    rows = torch.nn.functional.conv2d(padded, weight, groups=images.shape[1])
    return torch.nn.functional.conv2d(rows, weight.transpose(2, 3), groups=images.shape[1])


@fill("noise", citation="Nalmpantis et al., 2023 (Vision DiffMask)", parameters=NoiseParameters)
def noise(context: ScoreContext, parameters: NoiseParameters) -> Tensor:
    """Uniform noise on [0, 1), one field per image, the same at every step."""
    shape = context.images.shape[1:]
    return uniform(context.seed, context.image_ids, "fill-noise", shape, parameters.draw).to(context.images)

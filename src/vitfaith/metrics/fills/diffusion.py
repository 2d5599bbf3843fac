"""In-fill by a diffusion model: samples of the removed pixels, given the kept pixels.

Sampling as in RePaint (Lugmayr et al., CVPR 2022, algorithm 1): at every noise level, kept pixels are the image with that
much noise, and removed pixels come from the model. The model never sees the original value of a removed pixel.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import sqrt
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from vitfaith.denoisers.sampling import Noise, keyed_noise, resize, spread_timesteps, step_back
from vitfaith.errors import ConfigError, InputError
from vitfaith.lazy import torch
from vitfaith.metrics.fills.registry import fill
from vitfaith.registry import Ids, Parameters
from vitfaith.rng import generator

if TYPE_CHECKING:
    from torch import Tensor

    from vitfaith.denoisers.denoiser import Denoiser
    from vitfaith.metrics.context import ScoreContext
    from vitfaith.metrics.fills.registry import Imputer

DENOISER_EXTRA = "denoiser"
"""Key of the :class:`~vitfaith.denoisers.denoiser.Denoiser` among a context's extra inputs."""


class DiffusionParameters(Parameters):
    """The denoiser that draws the removed pixels; it is called steps × resamples times per perturbed image."""

    denoiser: Annotated[str, Ids("denoisers")] = Field(description="id of an entry of the section denoisers")
    steps: int = Field(10, ge=1, description="noise levels, evenly spread over the schedule (RePaint: 250)")
    resamples: int = Field(
        4, ge=1, description="repetitions of each step (RePaint: 10); with 1, removed pixels do not match the others"
    )
    sampler: Literal["ancestral", "ddim"] = Field("ancestral", description="ancestral, as in RePaint, or ddim")
    size: Literal["image", "network"] = Field(
        "image",
        description="image: the U-Net runs at the image's size; network: images are resized to the network's size and back",
    )
    draw: int = Field(0, ge=0, description="number of the in-fill among several independent ones")

    @property
    def calls(self) -> int:
        """Network calls for each perturbed image."""
        return self.steps * self.resamples


@fill(
    "diffusion",
    citation="Lugmayr et al., 2022 (RePaint); Chang et al., 2019 (generative in-fill)",
    parameters=DiffusionParameters,
    imputes=True,
)
def diffusion(context: ScoreContext, parameters: DiffusionParameters) -> Imputer:
    """Samples from a denoiser of the study, given the kept pixels; the same noise for every mask of an image."""
    denoiser = context.extras.get(DENOISER_EXTRA)
    if denoiser is None:
        raise InputError(
            f"fill 'diffusion': there is no denoiser; pass one to evaluate(extras={{'{DENOISER_EXTRA}': …}})"
        )
    channels, height, width = context.images.shape[1:]
    shape = (channels, *working_size(denoiser, (channels, height, width), parameters))

    def impute(images: Tensor, removed: Tensor, index: Tensor) -> Tensor:
        shown, row = index.unique(return_inverse=True)
        sources = [
            generator(context.seed, context.image_ids[i], "fill-diffusion", parameters.draw) for i in shown.tolist()
        ]
        draw, like = keyed_noise(sources), images.new_empty((len(shown), *shape))
        return infill(denoiser, images.float(), removed, lambda: draw(like)[row], parameters).to(images.dtype)

    return impute


def infill_extras(spec: Mapping[str, Any], denoiser: str | None, device: str) -> dict[str, Denoiser]:
    """The denoiser of a job as an extra input; empty if its fills name none."""
    from vitfaith.denoisers.denoiser import job_denoiser

    return {} if denoiser is None else {DENOISER_EXTRA: job_denoiser(denoiser, spec.get("denoiser"), device)}


def working_size(denoiser: Denoiser, shape: tuple[int, int, int], parameters: DiffusionParameters) -> tuple[int, int]:
    """(height, width) at which images of ``shape`` (C, H, W) are in-filled.

    Raises:
        ConfigError: ``size: network`` with a denoiser of unknown size, or more steps than its schedule has.
        InputError: a number of channels other than the network's, or sides that the network cannot halve often enough.
    """
    if parameters.steps > denoiser.schedule.length:
        raise ConfigError(f"fill 'diffusion': steps={parameters.steps}, the schedule has {denoiser.schedule.length}")
    if parameters.size == "network" and denoiser.size is None:
        raise ConfigError("fill 'diffusion': the denoiser has no sample_size; set size: image")
    return denoiser.working_size(shape, network=parameters.size == "network")


def infill(
    denoiser: Denoiser, images: Tensor, removed: Tensor, noise: Noise, parameters: DiffusionParameters
) -> Tensor:
    """``images`` with the pixels ``removed`` drawn again; ``steps`` × ``resamples`` network calls per image.

    Args:
        images: (N, C, H, W) float32 in [0, 1].
        removed: (N, H, W) bool.
        noise: draws the next standard normal (N, C, h, w), at the size of :func:`working_size`.

    Returns:
        (N, C, H, W) in [0, 1]; kept pixels are bit-identical.
    """
    schedule = denoiser.schedule
    size = working_size(denoiser, (images.shape[1], images.shape[2], images.shape[3]), parameters)
    signed = resize(2 * images - 1, size)
    share = removed[:, None].float()
    if size != tuple(
        images.shape[2:]
    ):  # a resized pixel that mixes in a removed pixel is not kept, because it would reveal the removed value
        share = torch.nn.functional.interpolate(share, size, mode="bilinear", align_corners=False, antialias=True)
    gone = share > 0

    def keep(unknown: Tensor, drawn: Tensor, timestep: int) -> Tensor:
        return torch.where(gone, unknown, denoiser.add_noise(signed, drawn, timestep))

    def back(current: Tensor, timestep: int, previous: int) -> Tensor:
        drawn = noise()  # one noise field serves both parts, because no pixel is both kept and removed
        return keep(
            step_back(denoiser, current, timestep, previous, lambda: drawn, parameters.sampler), drawn, previous
        )

    timesteps = spread_timesteps(schedule.length - 1, parameters.steps)
    drawn = noise()
    current = keep(drawn, drawn, timesteps[0])
    for timestep, previous in zip(timesteps, [*timesteps[1:], -1], strict=True):
        current = back(current, timestep, previous)
        # back to the previous noise level and again down, so removed pixels adapt to their neighbours
        ratio = schedule.alpha_bar(timestep) / schedule.alpha_bar(previous)
        for _ in range(parameters.resamples - 1):
            current = back(sqrt(ratio) * current + sqrt(1 - ratio) * noise(), timestep, previous)
    filled = ((resize(current, (images.shape[2], images.shape[3])) + 1) / 2).clamp(0, 1)
    return torch.where(removed[:, None], filled, images)

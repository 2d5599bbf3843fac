"""In-fill by a diffusion model: what it holds likely at the removed pixels, given the pixels that stay.

Sampling as in RePaint (Lugmayr et al., CVPR 2022, algorithm 1): at every noise level the pixels that stay are the image with
that much noise, the removed ones are the model's. It never sees a removed pixel.
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
    """Which denoiser draws the removed pixels, and how often it is called: steps × resamples times a perturbed image."""

    denoiser: Annotated[str, Ids("denoisers")] = Field(description="id of an entry of the section denoisers")
    steps: int = Field(10, ge=1, description="noise levels, evenly spread over the schedule (RePaint: 250)")
    resamples: int = Field(
        4, ge=1, description="times that each step is taken (RePaint: 10); with 1, removed pixels do not fit the others"
    )
    sampler: Literal["ancestral", "ddim"] = Field("ancestral", description="ancestral, as RePaint's, or ddim")
    size: Literal["image", "network"] = Field(
        "image", description="image: the U-Net runs at the image's size; network: resized to its own, and back"
    )
    draw: int = Field(0, ge=0, description="which of several independent in-fills")

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
    """What a denoiser of the study draws there, given the pixels that stay; the same noise for every mask of an image."""
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
        return infill(denoiser, images.float(), removed, lambda: draw(like)[row], parameters).to(images)

    return impute


def infill_extras(spec: Mapping[str, Any], denoiser: str | None, device: str) -> dict[str, Denoiser]:
    """The denoiser of a job as an extra input, nothing where its fills name none."""
    from vitfaith.denoisers.denoiser import job_denoiser

    return {} if denoiser is None else {DENOISER_EXTRA: job_denoiser(denoiser, spec.get("denoiser"), device)}


def working_size(denoiser: Denoiser, shape: tuple[int, int, int], parameters: DiffusionParameters) -> tuple[int, int]:
    """(height, width) at which images of ``shape`` (C, H, W) are in-filled.

    Raises:
        ConfigError: ``size: network`` with a denoiser that does not say its size, or more steps than its schedule has.
        InputError: other channels than the network's, or sides that cannot be halved as often as it does.
    """
    if parameters.steps > denoiser.schedule.length:
        raise ConfigError(f"fill 'diffusion': steps={parameters.steps}, the schedule has {denoiser.schedule.length}")
    if parameters.size == "network" and denoiser.size is None:
        raise ConfigError("fill 'diffusion': the denoiser does not say its sample_size; set size: image")
    return denoiser.working_size(shape, network=parameters.size == "network")


def infill(
    denoiser: Denoiser, images: Tensor, removed: Tensor, noise: Noise, parameters: DiffusionParameters
) -> Tensor:
    """``images`` with the pixels ``removed`` drawn anew; ``steps`` × ``resamples`` network calls an image.

    Args:
        images: (N, C, H, W) float32 in [0, 1].
        removed: (N, H, W) bool.
        noise: draws the next standard normal (N, C, h, w), at the size of :func:`working_size`.

    Returns:
        (N, C, H, W) in [0, 1]; pixels that stay have their bits.
    """
    schedule = denoiser.schedule
    size = working_size(denoiser, (images.shape[1], images.shape[2], images.shape[3]), parameters)
    signed = resize(2 * images - 1, size)
    share = removed[:, None].float()
    if size != tuple(images.shape[2:]):  # a pixel that a removed one has any part in does not stay: it would tell of it
        share = torch.nn.functional.interpolate(share, size, mode="bilinear", align_corners=False, antialias=True)
    gone = share > 0

    def keep(unknown: Tensor, drawn: Tensor, timestep: int) -> Tensor:
        return torch.where(gone, unknown, denoiser.add_noise(signed, drawn, timestep))

    def back(current: Tensor, timestep: int, previous: int) -> Tensor:
        drawn = noise()  # one field serves both parts: no pixel is both kept and removed
        return keep(
            step_back(denoiser, current, timestep, previous, lambda: drawn, parameters.sampler), drawn, previous
        )

    timesteps = spread_timesteps(schedule.length - 1, parameters.steps)
    drawn = noise()
    current = keep(drawn, drawn, timesteps[0])
    for timestep, previous in zip(timesteps, [*timesteps[1:], -1], strict=True):
        current = back(current, timestep, previous)
        # to the noise before and back again, so that the removed pixels can agree with their neighbours
        ratio = schedule.alpha_bar(timestep) / schedule.alpha_bar(previous)
        for _ in range(parameters.resamples - 1):
            current = back(sqrt(ratio) * current + sqrt(1 - ratio) * noise(), timestep, previous)
    filled = ((resize(current, (images.shape[2], images.shape[3])) + 1) / 2).clamp(0, 1)
    return torch.where(removed[:, None], filled, images)

"""In-fill by a diffusion model: what it holds likely at the removed pixels, given the pixels that stay.

Sampling as in RePaint (Lugmayr et al., CVPR 2022, algorithm 1): at every noise level the pixels that stay are the image with
that much noise, the removed ones are the model's. It never sees a removed pixel.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import sqrt
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from vitfaith.denoisers.denoiser import Denoiser
from vitfaith.denoisers.sampling import Noise, resize, spread_timesteps, step_back
from vitfaith.errors import ConfigError
from vitfaith.metrics.fills.registry import DiffusionParameters

EXTRA = "denoiser"
"""Key of the :class:`~vitfaith.denoisers.denoiser.Denoiser` among a context's extra inputs."""


def infill_extras(spec: Mapping[str, Any], denoiser: str | None, device: str) -> dict[str, Denoiser]:
    """The denoiser of a job as an extra input, nothing where its fills name none."""
    return {} if denoiser is None else {EXTRA: Denoiser.load(denoiser, spec.get("denoiser"), device=device)}


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
        share = functional.interpolate(share, size, mode="bilinear", align_corners=False, antialias=True)
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

"""Sampling from a timestep back to the clean image: posterior and DDIM steps in float32, noise per step, resizing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import log, sqrt
from typing import TYPE_CHECKING

from vitfaith.lazy import torch
from vitfaith.transfer import upload

if TYPE_CHECKING:
    from torch import Generator, Tensor

    from vitfaith.denoisers.denoiser import Denoiser
    from vitfaith.denoisers.schedule import Schedule

Noise = Callable[[], "Tensor"]
"""Draws the next standard normal noise of the shape of the images."""

Draw = Callable[["Tensor"], "Tensor"]
"""Standard normal noise of the shape of its argument."""


def keyed_noise(sources: Sequence[Generator]) -> Draw:
    """Noise whose row i comes from ``sources[i]``, drawn on the CPU."""

    def draw(like: Tensor) -> Tensor:
        shape = like.shape[1:]
        return upload(torch.stack([torch.randn(shape, generator=source) for source in sources]), like.device)

    return draw


def resize(images: Tensor, size: tuple[int, int] | None, *, antialias: bool = True) -> Tensor:
    """Bilinear, (B, C, H, W) to (B, C, *size); the unchanged images if they have that size, or if there is none."""
    if size is None or tuple(images.shape[-2:]) == tuple(size):
        return images
    return torch.nn.functional.interpolate(images, size, mode="bilinear", align_corners=False, antialias=antialias)


def step_variance(schedule: Schedule, raw: Tensor | None, timestep: int, previous: int) -> Tensor | float:
    """Variance of x_previous given x_timestep (Ho et al. 2020, eq. 7; learned range: Nichol & Dhariwal 2021, eq. 15).

    Args:
        raw: the network's variance output, or None; if the network has one, it is used instead of the scheduler's variance.
    """
    bar, bar_previous = schedule.alpha_bar(timestep), schedule.alpha_bar(previous)
    beta = 1 - bar / bar_previous
    small = max((1 - bar_previous) / (1 - bar) * beta, 1e-20)
    if raw is not None and schedule.variance == "learned":
        return raw
    if raw is not None:
        share = (raw + 1) / 2
        return torch.exp(share * log(beta) + (1 - share) * log(small))
    return beta if schedule.variance.startswith("fixed_large") else small


def ancestral_step(
    schedule: Schedule, noisy: Tensor, clean: Tensor, raw: Tensor | None, timestep: int, previous: int, noise: Noise
) -> Tensor:
    """A draw from q(x_previous | x_timestep, x̂₀), for any previous < timestep; −1 is the clean image itself."""
    if previous < 0:
        return clean
    bar, bar_previous = schedule.alpha_bar(timestep), schedule.alpha_bar(previous)
    alpha = bar / bar_previous
    mean = (sqrt(bar_previous) * (1 - alpha) * clean + sqrt(alpha) * (1 - bar_previous) * noisy) / (1 - bar)
    variance = step_variance(schedule, raw, timestep, previous)
    return mean + (sqrt(variance) if isinstance(variance, float) else variance.sqrt()) * noise()


def ddim_step(schedule: Schedule, noisy: Tensor, clean: Tensor, timestep: int, previous: int) -> Tensor:
    """The deterministic step of Song et al. 2021 (eq. 12, σ = 0); the noise follows from the clipped x̂₀."""
    epsilon = (noisy - schedule.signal(timestep) * clean) / schedule.noise(timestep)
    return schedule.signal(previous) * clean + schedule.noise(previous) * epsilon


def step_back(denoiser: Denoiser, current: Tensor, timestep: int, previous: int, noise: Noise, sampler: str) -> Tensor:
    """One network call and one step of the sampler, from x at ``timestep`` to x at ``previous``; −1 is the clean image."""
    clean, raw = denoiser.predict_clean(current, timestep)
    if sampler == "ddim":
        return ddim_step(denoiser.schedule, current, clean, timestep, previous)
    return ancestral_step(denoiser.schedule, current, clean, raw, timestep, previous, noise)


def walk_back(denoiser: Denoiser, noisy: Tensor, timesteps: Sequence[int], noise: Noise, sampler: str) -> Tensor:
    """Denoise ``noisy`` = x at ``timesteps[0]`` along descending ``timesteps`` to the clean image, in [-1, 1]."""
    current = noisy
    for timestep, previous in zip(timesteps, [*timesteps[1:], -1], strict=True):
        current = step_back(denoiser, current, timestep, previous, noise, sampler)
    return current


def spread_timesteps(start: int, steps: int | None) -> list[int]:
    """``steps`` distinct timesteps from ``start`` down to 0, evenly spread; all timesteps by default."""
    if steps is None or steps > start:
        return list(range(start, -1, -1))
    if steps == 1:
        return [start]
    return sorted({round(start * i / (steps - 1)) for i in range(steps)}, reverse=True)

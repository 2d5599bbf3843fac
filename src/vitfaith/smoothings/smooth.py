"""Denoised Diffusion Smoothing of a batch: noise keyed by (seed, image, sample), image × sample in full batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn import functional

from vitfaith.denoisers.denoiser import Denoiser
from vitfaith.denoisers.sampling import spread_timesteps, walk_back
from vitfaith.denoisers.schedule import OFFICIAL_RESPACING, Schedule
from vitfaith.errors import ConfigError, InputError
from vitfaith.rng import generator
from vitfaith.smoothings.dds import DdsParameters

Draw = Callable[[Tensor], Tensor]
"""Standard normal noise of the shape of its argument."""

PURPOSE = "dds"
"""Names the noise of the smoothing in random keys."""


@dataclass(frozen=True)
class NoiseLevel:
    """What a smoothing really does, for the record.

    Attributes:
        timestep: index (from 0) at which the denoiser is first called; −1 if it is not.
        added: standard deviation of the noise added before denoising, relative to the image, in [0, 1] pixel units.
        told: the noise that the first call's timestep stands for, same units; equals ``added`` when calibrated.
        calls: network calls per image and sample.
    """

    timestep: int
    added: float
    told: float
    calls: int


def noise_level(schedule: Schedule, parameters: DdsParameters) -> NoiseLevel:
    """Timestep, realised noise and cost of a smoothing with this schedule; raises :class:`ConfigError` as it does."""
    sigma, mode = parameters.sigma, parameters.mode
    if mode == "noise_only":
        return NoiseLevel(-1, sigma, 0.0, 0)
    if mode == "official_noise_only":
        return NoiseLevel(-1, sigma / 2, 0.0, 0)
    if parameters.is_official:
        steps = schedule.official_timestep(sigma)
        first = schedule.respaced(OFFICIAL_RESPACING)[steps - 1] if steps else -1
        return NoiseLevel(first, sigma / 2, schedule.sigma(first) if steps else 0.0, steps)
    start = schedule.timestep(sigma)
    calls = len(spread_timesteps(start, parameters.steps)) if mode == "multistep" else 1
    return NoiseLevel(start, 0.0 if mode == "denoise_only" else schedule.sigma(start), schedule.sigma(start), calls)


@torch.no_grad()
def denoise_images(
    denoiser: Denoiser,
    images: Tensor,
    image_ids: Sequence[str],
    parameters: DdsParameters,
    samples: range,
    *,
    seed: int,
    batch_size: int,
) -> Tensor:
    """Noise and denoise each image once per sample number.

    Noise is keyed by (seed, image_id, sample): samples are nested, so asking for ``range(10, 50)`` extends a cache of
    ``range(10)``, and no result depends on the batch.

    Args:
        images: (B, C, H, W) float in [0, 1].
        image_ids: B names.
        samples: sample numbers, for example ``range(parameters.samples)``.
        batch_size: most (image, sample) pairs that go through the network at once.

    Returns:
        (B, len(samples), C, H, W) float32 in [0, 1], on the CPU.

    Raises:
        ConfigError: sigma is beyond the schedule (the text names the largest), or the mode does not fit it.
        InputError: images of a wrong shape or range.
    """
    _check(images, image_ids)
    level = noise_level(denoiser.schedule, parameters)
    with torch.inference_mode(False):
        check_passes(denoiser, (images.shape[1], images.shape[2], images.shape[3]), parameters, level)
        result = torch.empty(len(images), len(samples), *images.shape[1:])
        flat = result.view(-1, *images.shape[1:])
        pairs = [(i, s) for i in range(len(images)) for s in samples]
        step = max(1, batch_size)
        finished: tuple[slice, Tensor] | None = None
        for start in range(0, len(pairs), step):
            chunk = pairs[start : start + step]
            batch = _upload(images[[i for i, _ in chunk]].clone().float(), denoiser.device)
            draw = keyed_noise([generator(seed, image_ids[i], PURPOSE, s) for i, s in chunk])
            smoothed = smooth_batch(denoiser, batch, parameters, draw, level)
            if finished is not None:  # fetched late, so that a GPU works while the next noise is drawn
                flat[finished[0]] = finished[1].cpu()
            finished = slice(start, start + len(chunk)), smoothed
        if finished is not None:
            flat[finished[0]] = finished[1].cpu()
    return result


def keyed_noise(sources: Sequence[Generator]) -> Draw:
    """Noise whose row i comes from ``sources[i]``, drawn on the CPU."""

    def draw(like: Tensor) -> Tensor:
        shape = like.shape[1:]
        return _upload(torch.stack([torch.randn(shape, generator=source) for source in sources]), like.device)

    return draw


def _upload(tensor: Tensor, device: torch.device) -> Tensor:
    """``tensor`` on ``device``; from pinned memory to a GPU, so that the copy does not wait for the work before it."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def smooth_batch(
    denoiser: Denoiser, images: Tensor, parameters: DdsParameters, draw: Draw, level: NoiseLevel | None = None
) -> Tensor:
    """One noise sample for each of ``images`` (B, C, H, W) float32 in [0, 1], in [0, 1]; differentiable.

    The noise is added by the schedule in one step, x_t = √ᾱ(2x − 1) + √(1 − ᾱ)ε, so its realised relative size is
    that of the timestep, at or just above sigma. With ``size: network`` it is added after resizing, and a radius
    certified there is one of the resized image.
    """
    level = level or noise_level(denoiser.schedule, parameters)
    mode, sigma = parameters.mode, parameters.sigma
    if mode == "noise_only":
        return (images + sigma * draw(images)).clamp(0, 1)
    signed = 2 * images - 1
    if parameters.is_official:
        return (_official(denoiser, signed, parameters, draw, level) + 1) / 2
    resized = resize(signed, denoiser.size) if parameters.network_size else signed
    if mode == "denoise_only":
        noisy = denoiser.schedule.signal(level.timestep) * resized
    else:
        noisy = denoiser.add_noise(resized, draw(resized), level.timestep)
    if mode == "multistep":
        timesteps = spread_timesteps(level.timestep, parameters.steps)
        clean = walk_back(denoiser, noisy, timesteps, lambda: draw(noisy), parameters.sampler)
    else:
        clean, _ = denoiser.predict_clean(noisy, level.timestep)
    return ((resize(clean, (images.shape[-2], images.shape[-1])) + 1) / 2).clamp(0, 1)


def _official(denoiser: Denoiser, signed: Tensor, parameters: DdsParameters, draw: Draw, level: NoiseLevel) -> Tensor:
    """The published notebook, in [-1, 1]: noise δ, t* steps of the respaced chain, noise δ once more, clamp.

    Kept as published: the image is scaled by √(1 − β) of one step, where the network is told of about 20 times the
    noise that was added (δ = 8/255); the second noise is outside the smoothed map that the theorem speaks of.
    """
    delta, schedule = parameters.sigma, denoiser.schedule
    clean = signed
    if parameters.mode != "official_noise_only" and level.calls:
        resized = resize(signed, denoiser.size, antialias=False) if parameters.network_size else signed
        scale = (1 - schedule.official_beta(level.calls)) ** 0.5
        noisy = scale * (resized + delta * draw(resized))
        timesteps = schedule.respaced(OFFICIAL_RESPACING)[: level.calls][::-1]
        clean = walk_back(denoiser, noisy, timesteps, lambda: draw(noisy), "ancestral")
        clean = resize(clean, (signed.shape[-2], signed.shape[-1]), antialias=False)
    if parameters.mode != "official_denoise_only":
        clean = clean + delta * draw(clean)
    return clean.clamp(-1, 1)


def resize(images: Tensor, size: tuple[int, int] | None, *, antialias: bool = True) -> Tensor:
    """Bilinear, (B, C, H, W) to (B, C, *size); the images themselves where they have that size, or without one."""
    if size is None or tuple(images.shape[-2:]) == tuple(size):
        return images
    return functional.interpolate(images, size, mode="bilinear", align_corners=False, antialias=antialias)


def check_passes(denoiser: Denoiser, shape: tuple[int, int, int], parameters: DdsParameters, level: NoiseLevel) -> None:
    """Raise unless images of ``shape`` (C, H, W) can go through the network as the smoothing sends them.

    Raises:
        ConfigError: ``size: network`` with a denoiser that does not say its size.
        InputError: other channels than the network's, or sides that cannot be halved as often as it does.
    """
    if not level.calls:
        return
    if parameters.size == "network" and denoiser.size is None:
        raise ConfigError("smoothing dds: the denoiser does not say its sample_size; set size: image")
    denoiser.working_size(shape, network=parameters.network_size)


def _check(images: Tensor, image_ids: Sequence[str]) -> None:
    if images.ndim != 4 or len(image_ids) != len(images):
        raise InputError(
            f"images of shape {tuple(images.shape)} must be (B, C, H, W) with B = {len(image_ids)} image_ids"
        )
    if not bool(torch.isfinite(images).all()):
        raise InputError("images contain NaN or infinite values")
    if images.numel() and (float(images.min()) < -1e-6 or float(images.max()) > 1 + 1e-6):
        raise InputError(f"images lie in [{float(images.min()):.3g}, {float(images.max()):.3g}], not in [0, 1]")

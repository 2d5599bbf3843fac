"""Denoised Diffusion Smoothing: noise keyed by (seed, image, sample), image × sample in full batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from vitfaith.denoisers.sampling import Draw, keyed_noise, resize, spread_timesteps, walk_back
from vitfaith.denoisers.schedule import OFFICIAL_RESPACING, Schedule
from vitfaith.errors import ConfigError, InputError
from vitfaith.lazy import torch
from vitfaith.models.memory import BatchSize, in_batches
from vitfaith.models.pixels import check_pixels
from vitfaith.noise import Noise, shaped
from vitfaith.registry import Ids, Parameters
from vitfaith.rng import generator
from vitfaith.smoothings.aggregate import Aggregation
from vitfaith.smoothings.registry import SMOOTHINGS
from vitfaith.transfer import arriving, upload

if TYPE_CHECKING:
    from torch import Tensor

    from vitfaith.denoisers.denoiser import Denoiser

PURPOSE = "dds"

FEWEST_ROWS = 16
"""From this number of rows in a batch on, PyTorch gives 1 × 1 convolutions on one thread of a CPU to oneDNN, whatever their size:
all batches round alike."""

FILLED_UP = 64 * 64
"""Pixels of the largest image that is filled up: more rows of large images would cost more than equal bits are worth."""

Mode = Literal[
    "calibrated",
    "multistep",
    "official",
    "noise_only",
    "denoise_only",
    "official_noise_only",
    "official_denoise_only",
]


_NOISY = ("calibrated", "multistep", "noise_only")
"""Modes that add noise once, before everything else."""


class DdsParameters(Parameters):
    """Denoised Diffusion Smoothing: add noise, remove it with a diffusion model, average over noise samples."""

    sigma: float = Field(
        gt=0,
        description="standard deviation of the noise in [0, 1] pixel units; the official modes use the same number in "
        "[-1, 1] units, as the published notebook does, which halves it",
    )
    noise: Noise = Field(
        "gaussian",
        description="law of the added noise, always with standard deviation sigma: gaussian, laplace (scale sigma/√2) or "
        "uniform (half-width sigma·√3). The denoiser is trained on Gaussian noise; with another law its timestep "
        "matches the variance only",
    )
    samples: int = Field(10, ge=1, description="noise samples per image")
    mode: Mode = Field(
        "calibrated",
        description="calibrated: one denoiser call at the timestep whose noise is sigma; multistep: from that timestep "
        "step by step; official: the published notebook; *noise_only and *denoise_only: without the other half",
    )
    denoiser: Annotated[str, Ids("denoisers")] = Field(description="id of an entry of the section denoisers")
    aggregation: Aggregation | None = Field(
        None,
        description="aggregation of the samples' maps: mean, or the notebook's percentile_max; the default depends on the mode",
    )
    size: Literal["image", "network"] | None = Field(
        None,
        description="image: the U-Net runs at the image's size; network: resized to the size it was trained at, and "
        "back; without it image, in the official modes network",
    )
    sampler: Literal["ancestral", "ddim"] = Field("ancestral", description="step of the mode multistep")
    steps: int | None = Field(None, ge=1, description="steps of the mode multistep; default: every timestep")

    @model_validator(mode="after")
    def _check_mode(self) -> DdsParameters:
        if self.mode != "multistep":
            for key in ("steps", "sampler"):
                if getattr(self, key) != type(self).model_fields[key].default:
                    raise ConfigError(f"smoothing dds: '{key}' belongs to mode multistep, not {self.mode}; remove it")
        if self.noise != "gaussian" and self.mode not in _NOISY:
            raise ConfigError(
                f"smoothing dds: noise {self.noise} belongs to modes {', '.join(_NOISY)}, not {self.mode}; remove it"
            )
        return self

    @model_serializer(mode="wrap")
    def _leave_out_gaussian(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """The default is left out: studies without this key keep their specifications, and so their results."""
        found: dict[str, Any] = handler(self)
        if self.noise == "gaussian":
            found.pop("noise", None)
        return found

    @property
    def is_official(self) -> bool:
        """Whether the mode reproduces the published notebook or a part of it."""
        return self.mode.startswith("official")

    @property
    def certified_sigma(self) -> float | None:
        """Noise in [0, 1] pixel units for certificates; None if no certificate holds.

        The official modes take the maximum of maps and add noise after denoising; ``denoise_only`` adds no noise; with
        ``size: network`` the noise is added to the resized image, not to the certified image.
        """
        return self.sigma if self.mode in _NOISY and self.map_aggregation == "mean" and not self.network_size else None

    @property
    def certified_noise(self) -> Noise:
        """Law of the noise for certificates."""
        return self.noise

    @property
    def map_aggregation(self) -> Aggregation:
        """The effective aggregation."""
        return self.aggregation or ("percentile_max" if self.is_official else "mean")

    @property
    def network_size(self) -> bool:
        """Whether images are resized to the size the U-Net was trained at."""
        return self.size == "network" or (self.size is None and self.is_official)


@dataclass(frozen=True)
class NoiseLevel:
    """The actual parameters of a smoothing, for the record.

    Attributes:
        timestep: index (from 0) at which the denoiser is first called; −1 if it is not.
        added: standard deviation of the noise added before denoising, relative to the image, in [0, 1] pixel units.
        assumed: noise that the network assumes: the level of the first call's timestep, same units; equals ``added`` when calibrated.
        calls: network calls per image and sample.
    """

    timestep: int
    added: float
    assumed: float
    calls: int


def noise_level(schedule: Schedule, parameters: DdsParameters) -> NoiseLevel:
    """Timestep, realised noise and cost of a smoothing with this schedule; raises :class:`ConfigError` like the smoothing."""
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


def smooth_batch(
    denoiser: Denoiser, images: Tensor, parameters: DdsParameters, draw: Draw, level: NoiseLevel | None = None
) -> Tensor:
    """One noise sample for each of ``images`` (B, C, H, W) float32 in [0, 1], in [0, 1]; differentiable.

    The noise is added by the schedule in one step, x_t = √ᾱ(2x − 1) + √(1 − ᾱ)ε, so its actual relative size
    belongs to the timestep, at or just above sigma. With ``size: network`` noise is added after resizing, so a certified
    radius holds for the resized image. ``draw`` gives standard normal numbers. ``noise`` only changes the law of the added
    noise: the later steps of mode multistep follow the Gaussian chain for every law, as part of the smoothed function.
    """
    level = level or noise_level(denoiser.schedule, parameters)
    mode, sigma = parameters.mode, parameters.sigma
    if mode == "noise_only":
        return (images + sigma * shaped(draw(images), parameters.noise)).clamp(0, 1)
    signed = 2 * images - 1
    if parameters.is_official:
        return (_official(denoiser, signed, parameters, draw, level) + 1) / 2
    resized = resize(signed, denoiser.size) if parameters.network_size else signed
    if mode == "denoise_only":
        noisy = denoiser.schedule.signal(level.timestep) * resized
    else:
        noisy = denoiser.add_noise(resized, shaped(draw(resized), parameters.noise), level.timestep)
    if mode == "multistep":
        timesteps = spread_timesteps(level.timestep, parameters.steps)
        clean = walk_back(denoiser, noisy, timesteps, lambda: draw(noisy), parameters.sampler)
    else:
        clean, _ = denoiser.predict_clean(noisy, level.timestep)
    return ((resize(clean, (images.shape[-2], images.shape[-1])) + 1) / 2).clamp(0, 1)


def _official(denoiser: Denoiser, signed: Tensor, parameters: DdsParameters, draw: Draw, level: NoiseLevel) -> Tensor:
    """The published notebook, in [-1, 1]: noise δ, t* steps of the respaced chain, noise δ once more, clamp.

    Kept as published: the image is scaled by √(1 − β) of one step, while the network receives about 20 times
    the added noise (δ = 8/255); the second noise is outside the smoothed map of the theorem.
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


def dds_copies(denoiser: Denoiser, images: Tensor, parameters: DdsParameters, draw: Draw) -> Tensor:
    """One smoothed copy per image, as in :func:`dds`, with its graph; noise from ``draw``."""
    level = noise_level(denoiser.schedule, parameters)
    check_passes(denoiser, (images.shape[1], images.shape[2], images.shape[3]), parameters, level)
    return smooth_batch(denoiser, images, parameters, draw, level)


@SMOOTHINGS.register(
    "dds",
    parameters=DdsParameters,
    citation="Hu et al. 2024, arXiv 2311.17983; Carlini et al. 2023, arXiv 2206.10550",
    gradient=dds_copies,
)
def dds(
    denoiser: Denoiser,
    images: Tensor,
    image_ids: Sequence[str],
    parameters: DdsParameters,
    samples: range,
    *,
    seed: int,
    batch_size: int,
) -> Tensor:
    """Denoised Diffusion Smoothing: noise, denoise, and average over samples.

    Each image is noised and denoised once per sample number. Noise is keyed by (seed, image_id, sample): samples are
    nested, so a request for ``range(10, 50)`` extends a cache of ``range(10)``, and no result depends on the batch.

    Args:
        images: (B, C, H, W) float in [0, 1].
        image_ids: B names.
        samples: sample numbers, for example ``range(parameters.samples)``.
        batch_size: maximum number of (image, sample) pairs in one network call; halved when memory runs out.

    Returns:
        (B, len(samples), C, H, W) float32 in [0, 1], on the CPU.

    Raises:
        ConfigError: sigma is beyond the schedule (the text names the largest), or the mode does not fit it.
        InputError: images of a wrong shape or range.
    """
    _check(images, image_ids)
    level = noise_level(denoiser.schedule, parameters)
    with torch.inference_mode(False), torch.no_grad():
        check_passes(denoiser, (images.shape[1], images.shape[2], images.shape[3]), parameters, level)
        result = torch.empty(len(images), len(samples), *images.shape[1:])
        flat = result.view(-1, *images.shape[1:])
        size = denoiser.size if parameters.network_size and denoiser.size else (images.shape[2], images.shape[3])
        limit = BatchSize(min(batch_size, denoiser.most_at_once(size)))
        pairs = [(i, s) for i in range(len(images)) for s in samples]

        @torch.inference_mode()  # 2 % faster than no_grad: U-Nets are many small calls
        def smooth(start: int, stop: int) -> Tensor:
            chunk = pairs[start:stop]
            chunk += [chunk[-1]] * (min(fewest_rows(size), limit.size) - len(chunk))
            index = upload(torch.tensor([i for i, _ in chunk]), images.device)
            batch = upload(images[index].float(), denoiser.device)
            draw = keyed_noise([generator(seed, image_ids[i], PURPOSE, s) for i, s in chunk])
            return smooth_batch(denoiser, batch, parameters, draw, level)[: stop - start]

        for rows, smoothed in arriving(in_batches(len(pairs), limit, smooth)):
            flat[rows] = smoothed
    return result


def fewest_rows(size: tuple[int, int]) -> int:
    """Rows up to which a batch of ``size`` (height, width) is filled, so that the last batch of a shard rounds like the others.

    Images of more than 64 × 64 pixels are never filled up.
    """
    return FEWEST_ROWS if size[0] * size[1] <= FILLED_UP else 1


def check_passes(denoiser: Denoiser, shape: tuple[int, int, int], parameters: DdsParameters, level: NoiseLevel) -> None:
    """Raise unless the smoothing can send images of ``shape`` (C, H, W) through the network.

    Raises:
        ConfigError: ``size: network`` with a denoiser of unknown size.
        InputError: a number of channels other than the network's, or sides that the network cannot halve often enough.
    """
    if not level.calls:
        return
    if parameters.size == "network" and denoiser.size is None:
        raise ConfigError("smoothing dds: the denoiser has no sample_size; set size: image")
    denoiser.working_size(shape, network=parameters.network_size)


def _check(images: Tensor, image_ids: Sequence[str]) -> None:
    if images.ndim != 4 or len(image_ids) != len(images):
        raise InputError(
            f"images of shape {tuple(images.shape)} must be (B, C, H, W) with B = {len(image_ids)} image_ids"
        )
    check_pixels(images)

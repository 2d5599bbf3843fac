"""The smoothings: none, and Denoised Diffusion Smoothing. Importing this module imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from vitfaith.errors import ConfigError
from vitfaith.registry import Ids, Parameters
from vitfaith.smoothings.registry import SMOOTHINGS

if TYPE_CHECKING:
    from torch import Tensor

    from vitfaith.denoisers.denoiser import Denoiser

Mode = Literal[
    "calibrated",
    "multistep",
    "official",
    "noise_only",
    "denoise_only",
    "official_noise_only",
    "official_denoise_only",
]
Aggregation = Literal["mean", "percentile_max"]


class DdsParameters(Parameters):
    """Denoised Diffusion Smoothing: add Gaussian noise, remove it by a diffusion model, average over noise samples."""

    sigma: float = Field(
        gt=0,
        description="standard deviation of the noise in [0, 1] pixel units; the official modes use the same number in "
        "[-1, 1] units, as the published notebook does, which halves it",
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
        description="how the samples' maps become one: mean, or the notebook's percentile_max; without it by mode",
    )
    size: Literal["image", "network"] | None = Field(
        None,
        description="image: the U-Net runs at the image's size; network: resized to the size it was trained at, and "
        "back; without it image, in the official modes network",
    )
    sampler: Literal["ancestral", "ddim"] = Field("ancestral", description="step of the mode multistep")
    steps: int | None = Field(None, ge=1, description="steps of the mode multistep; without it every timestep")

    @model_validator(mode="after")
    def _check_mode(self) -> DdsParameters:
        if self.mode != "multistep":
            for key in ("steps", "sampler"):
                if getattr(self, key) != type(self).model_fields[key].default:
                    raise ConfigError(f"smoothing dds: '{key}' belongs to mode multistep, not {self.mode}; remove it")
        return self

    @property
    def is_official(self) -> bool:
        """Whether the mode reproduces the published notebook or a part of it."""
        return self.mode.startswith("official")

    @property
    def certified_sigma(self) -> float | None:
        """Noise in [0, 1] pixel units that certificates may stand on; None where none does.

        The official modes take the maximum of maps and add noise after denoising, ``denoise_only`` adds none, and with
        ``size: network`` the noise belongs to another image than the one that is certified.
        """
        noisy = self.mode in ("calibrated", "multistep", "noise_only")
        return self.sigma if noisy and self.map_aggregation == "mean" and not self.network_size else None

    @property
    def map_aggregation(self) -> Aggregation:
        """The aggregation in force."""
        return self.aggregation or ("percentile_max" if self.is_official else "mean")

    @property
    def network_size(self) -> bool:
        """Whether images are resized to the size the U-Net was trained at."""
        return self.size == "network" or (self.size is None and self.is_official)


@SMOOTHINGS.register("none")
def none(
    denoiser: Denoiser | None,
    images: Tensor,
    image_ids: Sequence[str],
    parameters: Parameters,
    samples: range,
    *,
    seed: int,
    batch_size: int,
) -> Tensor:
    """No smoothing: the image itself."""
    return images[:, None].expand(-1, len(samples), -1, -1, -1)


def dds_copies(
    denoiser: Denoiser, images: Tensor, parameters: DdsParameters, draw: Callable[[Tensor], Tensor]
) -> Tensor:
    """One copy of each image as :func:`dds` makes it, with its graph; noise from ``draw``."""
    from vitfaith.smoothings.smooth import check_passes, noise_level, smooth_batch

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
    """Denoised Diffusion Smoothing: noise, denoise, and average over samples."""
    from vitfaith.smoothings.smooth import denoise_images

    return denoise_images(denoiser, images, image_ids, parameters, samples, seed=seed, batch_size=batch_size)

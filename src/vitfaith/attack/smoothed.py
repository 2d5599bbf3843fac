"""The smoothing as an adaptive attacker sees it: random copies of the image with gradients through the denoiser."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from vitfaith.denoise.smoothings import DdsParameters, Mode
from vitfaith.errors import ConfigError
from vitfaith.lazy import torch
from vitfaith.registry import Ids, Parameters

if TYPE_CHECKING:
    from torch import Tensor

    from vitfaith.denoise.denoiser import Denoiser


class SmoothedParameters(Parameters):
    """The smoothing that an attack sees through, and how it takes gradients."""

    denoiser: Annotated[str | None, Ids("denoisers")] = Field(
        None, description="id of an entry of the section denoisers; without it the attack ignores smoothing"
    )
    sigma: float | None = Field(None, gt=0, description="as in the smoothing dds; goes with denoiser")
    mode: Mode = Field("calibrated", description="as in the smoothing dds")
    eot: int = Field(4, ge=1, description="noise draws per step that gradients are averaged over")
    gradient: Literal["full", "bpda"] = Field(
        "full", description="full: through the denoiser; bpda: as if the denoised image were the image itself"
    )

    @model_validator(mode="after")
    def _check_smoothing(self) -> SmoothedParameters:
        if (self.denoiser is None) != (self.sigma is None):
            raise ConfigError("an attack through the smoothing needs both 'denoiser' and 'sigma'; set both or neither")
        return self

    def smoothing(self) -> DdsParameters:
        """The smoothing's own settings."""
        settings = {"sigma": self.sigma, "denoiser": self.denoiser, "mode": self.mode, "samples": self.eot}
        return DdsParameters.model_validate(settings)


def smoothed_copies(denoiser: Denoiser, images: Tensor, parameters: SmoothedParameters) -> Tensor:
    """``parameters.eot`` noised and denoised copies of ``images`` (B, C, H, W), (eot·B, C, H, W), draw by draw.

    Expectation over transformation (Athalye et al. 2018, arXiv 1802.00420): every call draws new noise, by
    ``torch.randn_like``, which attacks key per image. With ``gradient: bpda`` the backward pass is the identity.
    """
    from vitfaith.denoise.smooth import noise_level, smooth_batch

    settings = parameters.smoothing()
    level = noise_level(denoiser.schedule, settings)

    def draw(like: Tensor) -> Tensor:
        parts = [torch.randn_like(part) for part in like.detach().chunk(parameters.eot)]
        return torch.cat(parts)

    repeated = images.repeat(parameters.eot, 1, 1, 1)
    if parameters.gradient == "full":
        return smooth_batch(denoiser, repeated, settings, draw, level)
    with torch.no_grad():
        smoothed = smooth_batch(denoiser, repeated, settings, draw, level)
    return repeated + (smoothed - repeated).detach()

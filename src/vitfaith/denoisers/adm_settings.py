"""Shape and schedule of OpenAI's diffusion networks, with the names of their training scripts. Imports no torch.

Flags as published with the checkpoints of improved-diffusion (Nichol & Dhariwal 2021, arXiv 2102.09672) and
guided-diffusion (Dhariwal & Nichol 2021, arXiv 2105.05233; "ADM").
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from vitfaith.errors import ConfigError, did_you_mean
from vitfaith.registry import Parameters

LEVELS: dict[int, tuple[float, ...]] = {
    512: (0.5, 1, 1, 2, 2, 4, 4),
    256: (1, 1, 2, 2, 4, 4),
    128: (1, 1, 2, 3, 4),
    64: (1, 2, 3, 4),
    32: (1, 2, 2, 2),
}
"""Width of each resolution level, relative to num_channels, that the published scripts use for an image size."""


WITHOUT_EFFECT = frozenset(
    {"dropout", "use_checkpoint", "use_fp16", "use_kl", "rescale_learned_sigmas", "timestep_respacing"}
)
"""Flags for training, memory and precision only; the network runs in float32."""


class AdmSettings(Parameters):
    """Training flags of a published checkpoint; flags that do not change the network's output are accepted and ignored."""

    image_size: int = Field(64, ge=4, description="side of the training images in pixels")
    image_channels: int = Field(3, ge=1, description="channels of the images")
    num_channels: int = Field(128, ge=1, description="channels of a level of relative width 1")
    num_res_blocks: int = Field(2, ge=1, description="residual blocks in each level")
    channel_mult: tuple[float, ...] = Field(
        (), description="relative widths of the levels; the default depends on image_size"
    )
    attention_resolutions: tuple[int, ...] = Field((16, 8), description="sides in pixels of levels with attention")
    num_heads: int = Field(4, ge=1, description="attention heads")
    num_head_channels: int | None = Field(None, ge=1, description="channels per head; takes precedence over num_heads")
    num_heads_upsample: int | None = Field(None, ge=1, description="heads on the way up; default: num_heads")
    use_scale_shift_norm: bool = Field(True, description="the timestep scales and shifts each residual block")
    resblock_updown: bool = Field(False, description="residual blocks change the resolution instead of convolutions")
    use_new_attention_order: bool = Field(False, description="rows of qkv: query, key, value, then heads")
    class_cond: bool = Field(False, description="the network receives a class")
    num_classes: int = Field(1000, ge=1, description="classes of a network with class_cond")
    learn_sigma: bool = Field(True, description="half of the output channels are the learned variance")
    diffusion_steps: int = Field(1000, ge=2, description="timesteps")
    noise_schedule: Literal["linear", "cosine"] = Field("linear", description="shape of the noise schedule")
    rescale_timesteps: bool = Field(False, description="the network receives t · 1000 / diffusion_steps")
    predict_xstart: bool = Field(False, description="the network predicts the image instead of the noise")
    sigma_small: bool = Field(False, description="without learn_sigma: the smaller of the two fixed variances")
    clip_denoised: bool = Field(True, description="predicted images are clipped to [-1, 1] at each step")

    @model_validator(mode="before")
    @classmethod
    def _without_effect(cls, flags: Any) -> Any:
        """Accept flags that the scripts print but that change no output here."""
        if not isinstance(flags, Mapping):
            return flags
        if flags.get("timestep_respacing") not in (None, "", str(flags.get("diffusion_steps", 1000))):
            raise ConfigError(
                "timestep_respacing belongs to the smoothing: remove it, and set mode: multistep with steps there"
            )
        return {key: value for key, value in flags.items() if key not in WITHOUT_EFFECT}

    @field_validator("channel_mult", "attention_resolutions", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        """Accept the scripts' ``"32,16,8"``."""
        return [part for part in value.split(",") if part.strip()] if isinstance(value, str) else value

    @field_validator("num_head_channels", "num_heads_upsample", mode="before")
    @classmethod
    def _unset(cls, value: Any) -> Any:
        """Accept the scripts' -1 for none."""
        return None if value == -1 else value

    @model_validator(mode="after")
    def _check_levels(self) -> AdmSettings:
        if not self.channel_mult and self.image_size not in LEVELS:
            raise ConfigError(f"image_size {self.image_size} has no published channel_mult; add it")
        return self

    @property
    def levels(self) -> tuple[float, ...]:
        """Relative width of each resolution level, the largest image first."""
        return self.channel_mult or LEVELS[self.image_size]

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each level."""
        return tuple(int(self.num_channels * factor) for factor in self.levels)

    def attends(self, level: int) -> bool:
        """Whether a level has attention."""
        return self.image_size // 2**level in self.attention_resolutions

    def heads(self, channels: int, *, upward: bool = False) -> int:
        """Attention heads of a block with ``channels`` channels."""
        if self.num_head_channels is not None:
            return channels // self.num_head_channels
        return (self.num_heads_upsample or self.num_heads) if upward else self.num_heads

    @property
    def scheduler(self) -> dict[str, Any]:
        """The schedule as a diffusers ``scheduler_config.json``; linear betas are rescaled from 1000 steps."""
        scale = 1000 / self.diffusion_steps
        return {
            "num_train_timesteps": self.diffusion_steps,
            "beta_start": scale * 1e-4,
            "beta_end": scale * 0.02,
            "beta_schedule": "linear" if self.noise_schedule == "linear" else "squaredcos_cap_v2",
            "prediction_type": "sample" if self.predict_xstart else "epsilon",
            "variance_type": "learned_range"
            if self.learn_sigma
            else "fixed_small"
            if self.sigma_small
            else "fixed_large",
            "clip_sample": self.clip_denoised,
        }

    @property
    def timestep_scale(self) -> float:
        """Factor from the timestep to the network's input."""
        return 1000 / self.diffusion_steps if self.rescale_timesteps else 1.0


_IMPROVED: dict[str, Any] = {"diffusion_steps": 4000, "noise_schedule": "cosine", "rescale_timesteps": True}
_GUIDED: dict[str, Any] = {
    "attention_resolutions": (32, 16, 8),
    "num_channels": 256,
    "num_head_channels": 64,
    "resblock_updown": True,
}
PRESETS: dict[str, dict[str, Any]] = {
    "cifar10_uncond": {**_IMPROVED, "image_size": 32, "num_res_blocks": 3},
    "imagenet_64_uncond": {**_IMPROVED, "num_res_blocks": 3},
    "imagenet_64_cond_improved": {
        **{"image_size": 64, "num_channels": 192, "num_res_blocks": 3, "class_cond": True},
        **{"diffusion_steps": 4000, "noise_schedule": "cosine"},
    },
    "lsun_256_improved": {
        **{"image_size": 256, "num_heads": 1, "use_scale_shift_norm": False, "attention_resolutions": (16,)},
    },
    "imagenet_64_cond": {
        **_GUIDED,
        **{"num_channels": 192, "num_res_blocks": 3, "use_new_attention_order": True},
        **{"class_cond": True, "noise_schedule": "cosine"},
    },
    "imagenet_128_cond": {**_GUIDED, "image_size": 128, "num_head_channels": None, "class_cond": True},
    "imagenet_256_cond": {**_GUIDED, "image_size": 256, "class_cond": True},
    "imagenet_256_uncond": {**_GUIDED, "image_size": 256},
    "imagenet_512_cond": {**_GUIDED, "image_size": 512, "class_cond": True},
    "lsun_256_uncond": {**_GUIDED, "image_size": 256},
}
"""Flags of the published checkpoints: cifar10_uncond_50M_500K.pt, imagenet64_uncond_100M_1500K.pt, 256x256_diffusion.pt,
256x256_diffusion_uncond.pt, lsun_bedroom.pt …"""


def adm_settings(preset: str | None, flags: Mapping[str, Any]) -> AdmSettings:
    """The flags of a preset with ``flags`` over them.

    Raises:
        ConfigError: there is no such preset.
        pydantic.ValidationError: a flag is unknown or of a wrong type.
    """
    if preset is not None and preset not in PRESETS:
        raise ConfigError(f"unknown preset '{preset}'{did_you_mean(preset, PRESETS)}; known: {', '.join(PRESETS)}")
    return AdmSettings.model_validate({**PRESETS.get(preset or "", {}), **flags})

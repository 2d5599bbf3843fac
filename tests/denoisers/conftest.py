"""Tiny random U-Nets and the reference schedulers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from diffusers.models.unets.unet_2d import UNet2DModel

from vitfaith.denoisers.denoiser import Denoiser
from vitfaith.denoisers.schedule import Schedule
from vitfaith.smoothings.dds import DdsParameters


def tiny_unet(seed: int = 0, channels: int = 3, outputs: int | None = None, size: int = 16) -> UNet2DModel:
    """Two levels of 8 and 16 channels, random weights."""
    state = torch.random.get_rng_state()
    torch.manual_seed(seed)
    network = UNet2DModel(
        sample_size=size,
        in_channels=channels,
        out_channels=outputs or channels,
        layers_per_block=1,
        block_out_channels=(8, 16),
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
        norm_num_groups=4,
        add_attention=False,
    )
    torch.random.set_rng_state(state)
    return network.eval()


@pytest.fixture(scope="session")
def denoiser() -> Denoiser:
    return Denoiser(tiny_unet(), Schedule.from_config({}))


@pytest.fixture(scope="session")
def learned() -> Denoiser:
    """With a learned variance, as guided-diffusion's networks have."""
    return Denoiser(tiny_unet(1, outputs=6), Schedule.from_config({"variance_type": "learned_range"}))


@pytest.fixture(scope="session")
def dds() -> Callable[..., DdsParameters]:
    def build(**settings: object) -> DdsParameters:
        return DdsParameters.model_validate({"sigma": 0.25, "denoiser": "tiny", **settings})

    return build

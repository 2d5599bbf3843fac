"""Train a small unconditional diffusers U-Net on an image set, by the noise-prediction loss (Ho et al. 2020)."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DDPMScheduler, UNet2DModel
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from vitfaith.artifacts.store import atomic_path
from vitfaith.artifacts.weights import write_weights
from vitfaith.denoisers.layout import WEIGHTS
from vitfaith.denoisers.recipe import DenoiserRecipe
from vitfaith.errors import ConfigError
from vitfaith.models.training.loop import fit
from vitfaith.rng import derive_seed
from vitfaith.transfer import upload


def train_denoiser(
    train: NDArray[np.uint8], test: NDArray[np.uint8], recipe: DenoiserRecipe, *, seed: int, device: str = "cpu"
) -> tuple[UNet2DModel, DDPMScheduler, list[dict[str, Any]]]:
    """Train on uint8 images (N, C, H, W); returns network, scheduler (1000 linear steps) and one log row per epoch."""
    torch.manual_seed(derive_seed(seed, "denoiser", "initialise"))
    channels, size = train.shape[1], train.shape[-1]
    if recipe.crop is not None and recipe.crop > min(train.shape[2:]):
        raise ConfigError(
            f"training: crop is {recipe.crop}, the images have {train.shape[3]} × {train.shape[2]} pixels"
        )
    levels = len(recipe.channels)
    network = UNet2DModel(
        sample_size=size,
        in_channels=channels,
        out_channels=channels,
        layers_per_block=recipe.layers_per_block,
        block_out_channels=recipe.channels,
        down_block_types=("DownBlock2D",) * levels,
        up_block_types=("UpBlock2D",) * levels,
        norm_num_groups=8,
        add_attention=False,
    ).to(device)
    scheduler = DDPMScheduler(num_train_timesteps=1000, beta_schedule="linear", clip_sample=True)
    images = torch.from_numpy(train).float().div_(127.5).sub_(1)
    held_out = torch.from_numpy(test[:512]).float().div_(127.5).sub_(1).to(device)

    def crops(indices: NDArray[np.int64], step: int) -> Tensor:
        whole = images[torch.from_numpy(indices)]
        side = recipe.crop
        if side is None:
            return whole
        rng = np.random.default_rng(derive_seed(seed, "batch", "crop", step))
        corners = rng.integers(0, [whole.shape[2] - side + 1, whole.shape[3] - side + 1], (len(whole), 2))
        return torch.stack([x[:, r : r + side, c : c + side] for x, (r, c) in zip(whole, corners, strict=True)])

    def loss_of(indices: NDArray[np.int64], step: int) -> Tensor:
        key = derive_seed(seed, "train", "noise", step)
        return prediction_loss(network, scheduler, upload(crops(indices, step), device), recipe.max_timestep, key)

    averaged, log = fit(
        network,
        loss_of,
        recipe,
        count=len(images),
        seed=seed,
        evaluate=lambda net: {"test_loss": held_out_loss(net, scheduler, held_out, recipe.max_timestep, seed)},
    )
    assert isinstance(averaged, UNet2DModel)
    return averaged.eval(), scheduler, log


def prediction_loss(
    network: nn.Module, scheduler: DDPMScheduler, clean: Tensor, max_timestep: int, seed: int
) -> Tensor:
    """Mean squared error of the predicted noise, one draw of noise and timestep per image (Ho et al. 2020, eq. 14).

    Args:
        network: diffusers U-Net that predicts noise.
        scheduler: gives the share of noise at every timestep.
        clean: (B, C, H, W) in [−1, 1], on the network's device.
        max_timestep: timesteps are drawn below it.
        seed: of the draws, which are made on the CPU.
    """
    source = torch.Generator().manual_seed(seed)
    noise = upload(torch.randn(clean.shape, generator=source), clean.device)
    timesteps = upload(torch.randint(0, max_timestep, (len(clean),), generator=source), clean.device)
    noisy = scheduler.add_noise(clean, noise, timesteps)
    return functional.mse_loss(network(noisy, timesteps).sample, noise)


@torch.inference_mode()
def held_out_loss(network: nn.Module, scheduler: DDPMScheduler, clean: Tensor, max_timestep: int, seed: int) -> float:
    """:func:`prediction_loss` of held-out images with the draws of every epoch's test; ``seed`` is the training's."""
    key = derive_seed(seed, "test", "noise", 0)
    return float(prediction_loss(network, scheduler, clean, max_timestep, key))


def save_denoiser(network: UNet2DModel, scheduler: DDPMScheduler, folder: Path) -> None:
    """Write the pair in the diffusers layout: ``unet/`` and ``scheduler/`` (safetensors weights), each file atomically."""
    with tempfile.TemporaryDirectory() as place:
        network.save_config(Path(place, "unet"))
        scheduler.save_config(Path(place, "scheduler"))
        for file in sorted(Path(place).rglob("*.json")):
            with atomic_path(folder / file.relative_to(place)) as temporary:
                temporary.write_bytes(file.read_bytes())
    write_weights(network.state_dict(), folder / "unet" / WEIGHTS, {"format": "pt"})

"""Tiny networks with files of their own, in place of those of the repository, for the sections of the GPU script."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmarks.gpu_sections.setup import Setup
from benchmarks.gpu_sections.shipped import Given
from diffusers import DDPMScheduler

from tests.conftest import tiny_vit
from tests.denoisers.conftest import tiny_unet
from vitfaith.denoisers.training import save_denoiser
from vitfaith.explainers.diffmask.files import save_diffmask
from vitfaith.explainers.diffmask.hard_concrete import HardConcrete
from vitfaith.explainers.diffmask.network import new_diffmask
from vitfaith.models.classifier import save_classifier

MEAN, STD = [0.5] * 3, [0.25] * 3
CLASSES = 5
ARGUMENTS: dict[str, Any] = {
    "img_size": 16, "patch_size": 4, "in_chans": 3, "embed_dim": 24, "depth": 3, "num_heads": 3, "mlp_ratio": 2.0,
    "num_classes": CLASSES,
}  # fmt: skip


def given(folder: Path, count: int = 2) -> Given:
    """Random images of 16 px, a ViT of 4 × 4 patches, a U-Net of two levels and a DiffMask, as files below ``folder``."""
    classifier = tiny_vit()
    weights, diffmask = folder / "weights.safetensors", folder / "diffmask.safetensors"
    save_classifier(classifier, weights, {})
    source = torch.Generator().manual_seed(0)
    network = new_diffmask(classifier, distribution=HardConcrete(), beta=1.0, generator=source)
    save_diffmask(network, diffmask, classifier, {})
    save_denoiser(tiny_unet(), DDPMScheduler(num_train_timesteps=1000, beta_schedule="linear"), folder / "denoiser")
    spec = {
        "timm": "vit_tiny_patch16_224", "arguments": ARGUMENTS, "weights": str(weights), "mean": MEAN, "std": STD,
    }  # fmt: skip
    random = np.random.default_rng(1)
    squares = random.integers(0, 224, (count, 3, 4, 4)).repeat(4, 2).repeat(4, 3)  # of which superpixels can be made
    pixels = (squares + random.integers(0, 32, squares.shape)).astype(np.uint8)
    labels = random.integers(0, CLASSES, count)
    return Given(spec, weights, folder / "denoiser", diffmask, pixels, labels, [f"image-{i}" for i in range(count)])


def setup(folder: Path, device: str = "cuda") -> Setup:
    """For the sections: the tiny networks on the CPU and on ``device``."""
    made = Setup(device, True, folder, repeats=1)
    made.made["given"] = given(folder)
    return made

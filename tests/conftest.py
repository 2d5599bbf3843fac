"""Tiny networks and images that every test shares."""

from __future__ import annotations

import joblib
import psutil
import pytest
import torch

from vitfaith.models.classifier import Classifier, build_backbone, freeze

torch.set_num_threads(1)  # tests run side by side, on networks too small to share between threads

MEMORY_OF_A_WORKER = 4 * 2**30  # bytes; the study that a test runs counts among them


def pytest_xdist_auto_num_workers() -> int:
    """One worker for each core that this process may really use (containers grant fewer than there are), if memory allows."""
    return max(1, min(joblib.cpu_count(), psutil.virtual_memory().total // MEMORY_OF_A_WORKER))


def tiny_vit(seed: int = 0, **overrides: object) -> Classifier:
    """A random ViT: 16 px, patch 4 (4×4 grid), width 24, depth 3, 3 heads, 5 classes; ``overrides`` go to timm."""
    arguments = dict(
        img_size=16, patch_size=4, in_chans=3, embed_dim=24, depth=3, num_heads=3, mlp_ratio=2.0, num_classes=5
    )
    generator_state = torch.random.get_rng_state()
    torch.manual_seed(seed)
    backbone = build_backbone("vit_tiny_patch16_224", arguments | overrides)
    for parameter in backbone.parameters():  # timm starts heads and biases at zero, which would hide errors
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    torch.random.set_rng_state(generator_state)
    return freeze(Classifier(backbone, [0.5] * 3, [0.25] * 3))


@pytest.fixture(scope="session")
def vit() -> Classifier:
    return tiny_vit()


@pytest.fixture(scope="session")
def images() -> torch.Tensor:
    return torch.rand(5, 3, 16, 16, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="session")
def targets() -> torch.Tensor:
    return torch.tensor([0, 3, 1, 4, 3])


@pytest.fixture(scope="session")
def image_ids() -> list[str]:
    return [f"image-{i}" for i in range(5)]

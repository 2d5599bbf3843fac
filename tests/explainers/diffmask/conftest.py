"""A tiny network whose answers depend on its patches, and pictures to train a DiffMask on."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.conftest import tiny_vit
from vitfaith.explainers.diffmask.recipe import DiffMaskRecipe
from vitfaith.models.classifier import Classifier

RECIPE = DiffMaskRecipe(
    steps=40, epochs=20, batch_size=16, log_every=5, evaluate_every=10, learning_rate=3e-3, held_out=32, warmup=5
)


@pytest.fixture(scope="session")
def pictures() -> NDArray[np.uint8]:
    """64 images of 16 pixels, a 4 × 4 grid: noise around a brightness of each patch's own."""
    rng = np.random.default_rng(0)
    bright = rng.integers(0, 2, (64, 3, 4, 4)).repeat(4, 2).repeat(4, 3)
    return (rng.integers(0, 40, bright.shape) + 200 * bright).astype(np.uint8)


@pytest.fixture(scope="session")
def sharp() -> Classifier:
    """A random ViT with a head that is far from indifferent."""
    classifier = tiny_vit()
    classifier.backbone.head.weight.data.mul_(15)
    return classifier

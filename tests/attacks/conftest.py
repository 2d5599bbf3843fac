"""Stored images and the classes predicted for them."""

from __future__ import annotations

import pytest
import torch

from vitfaith.models.classifier import Classifier


@pytest.fixture(scope="session")
def pixels(images: torch.Tensor) -> torch.Tensor:
    return (images * 255).round() / 255


@pytest.fixture(scope="session")
def predicted(vit: Classifier, pixels: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return vit(pixels).argmax(1)

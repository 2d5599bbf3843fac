"""What the score stage reads."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.files import ShardOnDisk, shard_on_disk
from vitfaith.metrics.context import ScoreContext
from vitfaith.models.classifier import Classifier


@pytest.fixture
def shard(tmp_path: Path, images: torch.Tensor, targets: torch.Tensor) -> ShardOnDisk:
    """Five images with maps and segmentations on disk."""
    return shard_on_disk(tmp_path, images, targets)


@pytest.fixture
def maps() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return {name: torch.randn(5, 4, 4, generator=generator) for name in ("a", "b", "c")}


@pytest.fixture
def context(
    vit: Classifier, images: torch.Tensor, targets: torch.Tensor, image_ids: list[str], maps: dict[str, torch.Tensor]
) -> ScoreContext:
    stacked = torch.stack(list(maps.values()), 1)
    return ScoreContext(vit, images, targets, image_ids, tuple(maps), stacked, torch.ones(5, 3, dtype=torch.bool), 7)

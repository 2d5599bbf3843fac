"""What the score stage reads."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.files import ShardOnDisk, shard_on_disk


@pytest.fixture
def shard(tmp_path: Path, images: torch.Tensor, targets: torch.Tensor) -> ShardOnDisk:
    """Five images with maps and segmentations on disk."""
    return shard_on_disk(tmp_path, images, targets)

"""Plain forward passes over many images."""

from __future__ import annotations

import torch
from torch import Tensor

from vitfaith.models.classifier import Classifier


@torch.inference_mode()
def forward_in_batches(classifier: Classifier, images: Tensor, batch_size: int) -> Tensor:
    """Logits (N, K) float32 of ``images`` (N, C, H, W) in [0, 1], at most ``batch_size`` at once."""
    return torch.cat([classifier(part).float() for part in images.split(batch_size)])

"""Plain forward passes over many images."""

from __future__ import annotations

import torch
from torch import Tensor

from vitfaith.errors import InputError
from vitfaith.models.classifier import Classifier
from vitfaith.models.fast.linear import quick_linear_layers


@torch.inference_mode()
def forward_in_batches(classifier: Classifier, images: Tensor, batch_size: int) -> Tensor:
    """Logits (N, K) float32 of ``images`` (N, C, H, W) in [0, 1], at most ``batch_size`` at once; N may be 0.

    Raises:
        InputError: ``batch_size`` is below 1.
    """
    if batch_size < 1:
        raise InputError(f"batch_size is {batch_size}; give at least 1")
    nothing = torch.zeros(0, classifier.num_classes, device=images.device)
    with quick_linear_layers(classifier):
        return torch.cat([nothing, *(classifier(part).float() for part in images.split(batch_size) if len(part))])

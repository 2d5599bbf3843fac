"""Plain forward passes over many images."""

from __future__ import annotations

import torch
from torch import Tensor

from vitfaith.models.classifier import Classifier
from vitfaith.models.fast.linear import quick_linear_layers
from vitfaith.models.memory import BatchSize, in_batches
from vitfaith.transfer import upload


@torch.inference_mode()
def forward_in_batches(classifier: Classifier, images: Tensor, batch_size: int) -> Tensor:
    """Logits (N, K) float32 of ``images`` (N, C, H, W) in [0, 1], at most ``batch_size`` at once; N may be 0.

    Images may be on any device, and float16 there; each batch is brought to the classifier's, where the logits are. The batch is halved when
    memory runs out.

    Raises:
        InputError: ``batch_size`` is below 1.
    """
    device = classifier.mean.device
    nothing = torch.zeros(0, classifier.num_classes, device=device)

    def forward(start: int, stop: int) -> Tensor:
        pixels = upload(images[start:stop], device)
        return classifier(pixels.float() if pixels.dtype == torch.float16 else pixels).float()

    with quick_linear_layers(classifier):
        parts = in_batches(len(images), BatchSize(batch_size), forward)
        return torch.cat([nothing, *(logits for _, logits in parts)])

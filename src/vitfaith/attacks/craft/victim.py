"""The model as an attack sees it: float32 logits."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vitfaith.models.classifier import Classifier


class Logits(nn.Module):
    """Float32 (or float64) logits of a classifier whose weights may have any floating dtype.

    The normalisation runs in float32: in bfloat16 a pixel near 1 has steps of 1/256, coarser than an attack's.

    Args:
        classifier: the model that is attacked.
        wide: give the logits as float64, for losses of probabilities, which in float32 round to 1 at leads of 17 logits.
    """

    def __init__(self, classifier: Classifier, wide: bool = False) -> None:
        super().__init__()
        self.classifier, self.dtype = classifier, torch.float64 if wide else torch.float32
        self.training = classifier.training  # torchattacks restores the mode that it reads here, in all children

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, K) float32, or float64 where ``wide``, for ``images`` (B, C, H, W) in [0, 1]."""
        dtype = next(self.classifier.parameters()).dtype
        if dtype == images.dtype:
            return self.classifier(images).float().to(self.dtype)
        normalised = (images - self.classifier.mean.float()) / self.classifier.std.float()
        return self.classifier.backbone(normalised.to(dtype)).float().to(self.dtype)

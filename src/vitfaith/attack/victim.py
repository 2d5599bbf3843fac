"""The model as an attack sees it: float32 logits, frozen, in evaluation mode, and left as it was found."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn

from vitfaith.models.classifier import Classifier


class Logits(nn.Module):
    """Float32 logits of a classifier whose weights may have any floating dtype.

    The normalisation runs in float32: in bfloat16 a pixel near 1 has steps of 1/256, coarser than an attack's.

    Args:
        classifier: the model that is attacked.
    """

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier
        self.training = classifier.training  # torchattacks restores the mode that it reads here, in all children

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, K) float32 for ``images`` (B, C, H, W) in [0, 1]."""
        dtype = next(self.classifier.parameters()).dtype
        if dtype == images.dtype:
            return self.classifier(images).float()
        normalised = (images - self.classifier.mean.float()) / self.classifier.std.float()
        return self.classifier.backbone(normalised.to(dtype)).float()


@contextmanager
def undisturbed(module: nn.Module) -> Iterator[None]:
    """Evaluation mode without parameter gradients for the block; every mode, flag and gradient is restored after it."""
    modes = [(m, m.training) for m in module.modules()]
    parameters = [(p, p.requires_grad, p.grad) for p in module.parameters()]
    module.eval()
    for parameter, _, _ in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for child, training in modes:
            child.training = training
        for parameter, required, gradient in parameters:
            parameter.requires_grad_(required)
            parameter.grad = gradient

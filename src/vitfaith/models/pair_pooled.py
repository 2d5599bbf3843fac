"""The head of DINOv2's published classifiers: a linear layer on the class token and the mean patch, side by side."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from vitfaith.models.fast.compiler import without_compiler

with without_compiler():
    from timm.models.vision_transformer import VisionTransformer


class PairPooledViT(VisionTransformer):
    """A timm ViT whose head reads 2 · ``embed_dim`` features (Oquab et al. 2024, arXiv 2304.07193, §7.1).

    Registers are not read. ``global_pool`` stays ``token``: explainers that read attention take the class token's row,
    as is done for DINO; gradients see both halves.
    """

    def __init__(self, *, num_classes: int, **arguments: Any) -> None:
        super().__init__(num_classes=0, **arguments)
        self.num_classes = num_classes
        self.head = nn.Linear(2 * self.embed_dim, num_classes)

    def pool(self, x: Tensor, pool_type: str | None = None) -> Tensor:
        """Class token and mean patch of ``x`` (B, N, D), as (B, 2D)."""
        if pool_type is not None:
            return super().pool(x, pool_type)
        return torch.cat([x[:, 0], x[:, self.num_prefix_tokens :].mean(1)], dim=1)

"""Colours that replace hidden or removed pixels, for explainers and for metrics; in [0, 1], before normalisation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vitfaith.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor


def black(images: Tensor) -> Tensor:
    """0 for each of ``images`` (B, C, H, W): (B, 1, 1, 1)."""
    return torch.zeros_like(images[:, :1, :1, :1])


def image_mean(images: Tensor) -> Tensor:
    """One grey value for each of ``images`` (B, C, H, W), the mean over all its pixels and channels: (B, 1, 1, 1)."""
    return images.mean((1, 2, 3), keepdim=True)


def channel_mean(images: Tensor) -> Tensor:
    """The mean colour of each of ``images`` (B, C, H, W): (B, C, 1, 1)."""
    return images.mean((2, 3), keepdim=True)

"""Whether images are what a model takes: finite pixels in [0, 1]. Importing this module imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vitfaith.errors import InputError
from vitfaith.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

ROUNDING = 1e-6
"""A pixel this far outside [0, 1] is rounding."""


def check_finite(images: Tensor) -> None:
    """Raise :class:`InputError` where ``images`` hold NaN or infinite values."""
    if not bool(torch.isfinite(images).all()):
        raise InputError("images contain NaN or infinite values; repair or drop those files")


def check_pixels(images: Tensor, *, margin: float = 0.0) -> None:
    """Raise :class:`InputError` unless all of ``images`` is finite and in [0, 1].

    ``margin`` says how far noise that is not clipped may leave [0, 1] on either side.
    """
    check_finite(images)
    if not images.numel():
        return
    low, high = float(images.min()), float(images.max())
    if low < -margin - ROUNDING or high > 1 + margin + ROUNDING:
        allowed = f"[{-margin:.3g}, {1 + margin:.3g}]" if margin else "[0, 1]"
        raise InputError(f"images lie in [{low:.3g}, {high:.3g}], not in {allowed}; normalisation belongs to the model")

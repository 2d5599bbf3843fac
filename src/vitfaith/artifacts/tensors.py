"""Columns of tables as tensors on a device."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vitfaith.artifacts.images import decode_images
from vitfaith.lazy import np, pa, torch
from vitfaith.transfer import upload

if TYPE_CHECKING:
    from torch import Tensor


def unit_pixels(levels: Tensor) -> Tensor:
    """Grey levels 0 … 255 of any type as float32 in [0, 1], the same bits on every device.

    By a tensor and not by a number: CUDA multiplies by the rounded 1/255 where a number divides, and is a bit off.
    """
    return levels.float() / torch.full((), 255.0, device=levels.device)


def image_tensor(table: pa.Table, where: str, device: str) -> Tensor:
    """The images (N, C, H, W), float32 in [0, 1], of a table with 8-bit image columns; ``where`` names the file in errors.

    Raises:
        ArtifactError: images of several sizes, or bytes that do not fit the size.
    """
    # copied, because PyTorch takes no read-only memory
    return unit_pixels(upload(torch.from_numpy(decode_images(table, np.uint8, where).copy()), device))


def integer_tensor(table: pa.Table, column: str, device: str) -> Tensor:
    """The integer column (N,) as int64."""
    return upload(torch.from_numpy(table.column(column).to_numpy().astype(np.int64)), device)

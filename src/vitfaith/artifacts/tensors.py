"""Columns of tables as tensors on a device."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from vitfaith.artifacts.images import decode_images


def image_tensor(table: pa.Table, where: str, device: str) -> Tensor:
    """The images (N, C, H, W), float32 in [0, 1], of a table with 8-bit image columns; ``where`` names the file in errors.

    Raises:
        ArtifactError: images of several sizes, or bytes that do not fit the size.
    """
    # copied, because PyTorch takes no read-only memory
    return torch.from_numpy(decode_images(table, np.uint8, where).copy()).to(device).float() / 255


def integer_tensor(table: pa.Table, column: str, device: str) -> Tensor:
    """The integer column (N,) as int64."""
    return torch.from_numpy(table.column(column).to_numpy().astype(np.int64)).to(device)

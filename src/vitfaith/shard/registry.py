"""The registry of dataset readers, and what a reader returns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vitfaith.registry import Registry

DATASETS: Registry = Registry("dataset reader")


@dataclass(frozen=True)
class Source:
    """Images behind an index.

    Attributes:
        image_ids: N unique names.
        labels: (N,) int64.
        read: maps an index array to images uint8 (n, C, H, W); called for one shard at a time.
    """

    image_ids: list[str]
    labels: NDArray[np.int64]
    read: Callable[[NDArray[np.int64]], NDArray[np.uint8]]

"""Random numbers keyed by (seed, image_id, purpose, sample), so that no draw depends on batch, shard or order.

By hand, because torch and NumPy key a generator by numbers only: a hash makes one number of the four parts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from vitfaith.lazy import torch

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Generator, Tensor


def derive_seed(seed: int, image_id: str, purpose: str, sample: int = 0) -> int:
    """A 63-bit integer that depends on all four parts of the key and on nothing else."""
    text = "\x1f".join((str(seed), image_id, purpose, str(sample)))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


def generator(seed: int, image_id: str, purpose: str, sample: int = 0) -> Generator:
    """A CPU generator for one key. Draws are made on the CPU so that a GPU run sees the same numbers."""
    return torch.Generator().manual_seed(derive_seed(seed, image_id, purpose, sample))


def normal(seed: int, image_ids: Sequence[str], purpose: str, shape: Sequence[int], sample: int = 0) -> Tensor:
    """Standard normal noise (B, *shape) float32; row i depends on ``image_ids[i]`` alone."""
    return torch.stack([torch.randn(tuple(shape), generator=generator(seed, i, purpose, sample)) for i in image_ids])


def uniform(seed: int, image_ids: Sequence[str], purpose: str, shape: Sequence[int], sample: int = 0) -> Tensor:
    """Uniform noise on [0, 1), (B, *shape) float32; row i depends on ``image_ids[i]`` alone."""
    return torch.stack([torch.rand(tuple(shape), generator=generator(seed, i, purpose, sample)) for i in image_ids])


def permutation(seed: int, image_id: str, purpose: str, number: int, sample: int = 0) -> NDArray[np.int64]:
    """The integers 0 … ``number`` − 1 in a uniformly random order, (number,) int64."""
    drawn: NDArray[np.int64] = torch.randperm(number, generator=generator(seed, image_id, purpose, sample)).numpy()
    return drawn

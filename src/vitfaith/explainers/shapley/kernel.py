"""Sets of patches drawn by the Shapley kernel, and what the objective needs of them."""

from __future__ import annotations

import torch
from torch import Generator, Tensor


def size_probabilities(patches: int) -> Tensor:
    """Probability of each set size 1 … P − 1 under the Shapley kernel, (P − 1,) float64.

    A set of size k has the weight (P − 1) / (C(P, k) k (P − k)), and there are C(P, k) of them.
    """
    sizes = torch.arange(1, patches, dtype=torch.float64)
    weights = 1 / (sizes * (patches - sizes))
    return weights / weights.sum()


def draw_sets(images: int, count: int, patches: int, source: Generator) -> Tensor:
    """Sets (images, ``count``, P) bool of kept patches, the second half the complements of the first; ``count`` even."""
    half = images * count // 2
    sizes = 1 + torch.multinomial(size_probabilities(patches), half, replacement=True, generator=source)
    places = torch.rand(half, patches, generator=source).argsort(1).argsort(1)
    sets = (places < sizes[:, None]).view(images, count // 2, patches)
    return torch.cat([sets, ~sets], 1)


def efficient(values: Tensor, total: Tensor) -> Tensor:
    """``values`` (…, P, K) shifted alike so that they sum to ``total`` (…, K): the nearest ones that do."""
    return values + ((total - values.sum(-2)) / values.shape[-2])[..., None, :]

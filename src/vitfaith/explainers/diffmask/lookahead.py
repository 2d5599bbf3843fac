"""The optimiser of the released training: Adam under Lookahead, where each gate and each λ is a separate parameter.

A parameter without a gradient in a step is left alone: Adam neither moves it nor ages its moments, and Lookahead (Zhang,
Lucas, Hinton & Ba, NeurIPS 2019) syncs only what has a gradient in a step that syncs. Its slow weights start at a parameter's
first sync, which therefore moves nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from timm.optim.lookahead import Lookahead
from torch import Tensor, nn


def lookahead_adam(groups: Sequence[dict[str, Any]], rate: float) -> Lookahead:
    """Adam with β = (0.9, 0.999) under Lookahead with k = 6 and share ½; ``rate`` is for groups that name none."""
    return Lookahead(torch.optim.Adam(list(groups), lr=rate, betas=(0.9, 0.999)), alpha=0.5, k=6)


class Slices:
    """A tensor split into separate parameters along one axis, sharing its memory.

    Attributes:
        parameters: one for each index of ``axis``.
    """

    def __init__(self, tensor: Tensor, axis: int = 0) -> None:
        """Share the memory of ``tensor``, which must stay the same tensor (in-place changes are seen)."""
        self.tensor, self.axis = tensor, axis
        self.parameters = [nn.Parameter(part) for part in tensor.detach().unbind(axis)]

    def hand_over(self, gradient: Tensor | None, count: int) -> None:
        """Give the first ``count`` parameters their part of ``gradient`` (of the tensor's shape), the others none."""
        parts = () if gradient is None else gradient.unbind(self.axis)
        for index, parameter in enumerate(self.parameters):
            parameter.grad = parts[index] if index < min(count, len(parts)) else None

"""Correlations along the last axis of tensors, for many images and maps at once, in float64."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vitfaith.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor


def pearson(x: Tensor, y: Tensor) -> Tensor:
    """Pearson correlation along the last axis, broadcasting the others; NaN where one side is constant."""

    def standardise(values: Tensor) -> Tensor:
        values = values.double()
        constant = (values == values[..., :1]).all(-1, keepdim=True)
        centred = values - values.mean(-1, keepdim=True)
        centred = centred / centred.abs().amax(-1, keepdim=True)
        return (centred / centred.norm(dim=-1, keepdim=True)).masked_fill(constant, torch.nan)

    return (standardise(x) * standardise(y)).sum(-1).clamp(-1, 1)


def average_ranks(values: Tensor) -> Tensor:
    """Ranks 1 … S along the last axis, ties sharing their mean rank; NaN anywhere makes all ranks NaN."""
    values = values.contiguous()
    ordered = values.sort(dim=-1).values
    below = torch.searchsorted(ordered, values)
    not_above = torch.searchsorted(ordered, values, right=True)
    return ((below + not_above + 1).double() / 2).masked_fill(values.isnan().any(-1, keepdim=True), torch.nan)


def spearman(x: Tensor, y: Tensor) -> Tensor:
    """Spearman correlation along the last axis, broadcasting the others; NaN where one side is constant."""
    return pearson(average_ranks(x), average_ranks(y))

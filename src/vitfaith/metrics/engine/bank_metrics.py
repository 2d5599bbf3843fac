"""Correlations between what a map says about sets of patches and what the model says about them.

Shapes: maps (B, M, P), masks (B, S, P) bool, drops (B, S) = f(x) − f(x without S); everything is computed in float64.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vitfaith.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor


def subset_sums(maps: Tensor, masks: Tensor) -> Tensor:
    """Attribution Σ_{i∈S} a_i of each set, (B, M, S) float64."""
    return maps.double() @ masks.double().transpose(1, 2)


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


def infidelity(sums: Tensor, drops: Tensor, *, scaled: bool) -> Tensor:
    """E[(β Σ_{i∈S} a_i − drop)²] (B, M) over sets (Yeh et al. 2019, definition 2.1, with I the indicator of S).

    ``scaled``: β = E[Σa · drop] / E[(Σa)²], the factor that minimises it, so that the unit of the map does not count;
    otherwise β = 1. ``sums`` (B, M, S), ``drops`` (B, 1, S).
    """
    drops = drops.double()
    if not scaled:
        return ((sums - drops) ** 2).mean(-1)
    factor = (sums * drops).mean(-1, keepdim=True) / (sums * sums).mean(-1, keepdim=True)
    return ((factor * sums - drops) ** 2).mean(-1)

"""Numbers read off removal curves. All functions are pure, work on the last axis, and skip NaN padding at its end."""

from __future__ import annotations

import torch
from torch import Tensor


def area(values: Tensor, fraction: Tensor) -> Tensor:
    """∫ values d fraction by trapezoids over the actual fractions; shapes (..., S) and broadcastable → (...)."""
    width = fraction.diff(dim=-1)
    height = (values[..., 1:] + values[..., :-1]) / 2
    return torch.where(width.isnan(), 0.0, width * height).sum(-1)


def unit_area(values: Tensor) -> Tensor:
    """Trapezoids of width 1 between the steps; (..., S) → (...)."""
    return ((values[..., 1:] + values[..., :-1]) / 2).sum(-1)


def mean_after_start(values: Tensor, fraction: Tensor) -> Tensor:
    """Mean over the steps that remove something, that is all but the first; (..., S) → (...)."""
    known = ~fraction[..., 1:].isnan()
    return torch.where(known, values[..., 1:], 0.0).sum(-1) / known.sum(-1)


def aopc(values: Tensor, fraction: Tensor) -> Tensor:
    """Mean over the steps of values[0] − values[k], k ≥ 1 (AttCAT's and SaCo's form, with its sign)."""
    return mean_after_start(values[..., :1] - values, fraction)


def log_odds(log_probability: Tensor, fraction: Tensor) -> Tensor:
    """Mean over the steps of log p_k − log p_0, k ≥ 1, with probabilities clamped at 1e-12."""
    clamped = log_probability.clamp(min=-27.631021115928547)  # log(1e-12)
    return mean_after_start(clamped - clamped[..., :1], fraction)

"""Base maps: conversion of sampled explanations before averaging, so a certificate applies to the average.

A certificate needs entries in [0, 1], and the Rényi certificate a probability vector. Each sample must be rescaled
before the mean: a mean divided by its own sum is not an expectation, and no certificate covers it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from vitfaith.certificates.radii.top_k import Floats, Swap
from vitfaith.certificates.settings import Base
from vitfaith.errors import InputError
from vitfaith.map_values import membership, unit_range, within_rounding


def base_map(maps: ArrayLike, base: Base, k: int) -> Floats:
    """Base maps (..., n) float64 in [0, 1] of raw maps (..., n); each map separately; NaN maps stay NaN.

    A map whose values differ only by rounding has no ranking: its share is 1/n, its votes are k/n, its unit map is 0.

    Args:
        maps: explanations of noisy copies of an image, any finite range.
        base: see :data:`vitfaith.certificates.settings.Base`.
        k: votes per map, for ``vote``.
    """
    values = np.asarray(maps, dtype=np.float64)
    undefined = ~np.isfinite(values).all(axis=-1, keepdims=True)
    with np.errstate(invalid="ignore", over="ignore"):
        constant = within_rounding(values.min(axis=-1, keepdims=True), values.max(axis=-1, keepdims=True))
    values = np.where(undefined | constant, 0.0, values)
    if base == "share":
        result = _share(values)
    elif base == "unit":
        result = np.clip(unit_range(values, axes=(-1,)), 0.0, 1.0)
    elif base == "vote":
        if not 1 <= k <= values.shape[-1]:
            raise InputError(f"k must lie in 1…{values.shape[-1]}, the number of entries of the map, not {k}")
        result = membership(values, k)
    else:
        raise InputError(f"unknown base '{base}'; known: share, unit, vote")
    return np.where(undefined, np.nan, result)


def mean_base_map(maps: ArrayLike, base: Base, k: int) -> Floats:
    """Mean base map (n,) of samples (m, n); exactly constant if its entries differ only by rounding."""
    mean = base_map(maps, base, k).mean(axis=0)
    return np.full_like(mean, mean.mean()) if within_rounding(mean.min(), mean.max()) else mean


def mass(base: Base, k: int) -> float:
    """Sum of the entries of every base map: 1 for ``share``, k for ``vote``, infinity (no fixed sum) for ``unit``."""
    return {"share": 1.0, "vote": float(k), "unit": float("inf")}[base]


def as_probabilities(swap: Swap, base: Base, k: int) -> Swap:
    """``swap`` of base maps with a fixed sum, divided by that sum: entries of probability vectors.

    Raises:
        InputError: the base has no fixed sum.
    """
    total = mass(base, k)
    if not np.isfinite(total):
        raise InputError(f"base '{base}' has no fixed sum; use share or vote")
    return Swap(swap.inside / total, swap.outside / total)


def _share(values: Floats) -> Floats:
    positive = np.maximum(values, 0.0)
    peak = positive.max(axis=-1, keepdims=True)
    positive = positive / np.where(peak > 0, peak, 1.0)  # sums of denormals or of 1e308 would lose the shares
    total = positive.sum(axis=-1, keepdims=True)
    return np.where(total > 0, positive / np.where(total > 0, total, 1.0), 1.0 / values.shape[-1])

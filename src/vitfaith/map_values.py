"""Properties of a map's values: whether they rank anything, ties, leading values; and the scaling of maps to [0, 1]."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeVar

from vitfaith.lazy import np, torch

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray
    from torch import Tensor

ROUNDING = 1e-6
"""Values of a map that differ by no more than this share of its largest magnitude are one value: maps are computed in
float32 (unit roundoff 6e-8), through several layers."""

A = TypeVar("A")

CEILING = " ceiling"
"""Ends the name of a variant that is the largest value which the ties of the maps allow."""

CHANCE = " chance"
"""Ends the name of a variant that is the value expected of two independent random maps."""


def within_rounding(low: Any, high: Any) -> Any:
    """Whether a map from ``low`` to ``high`` is constant: ``high − low ≤ 1e-6 · max(|low|, |high|)``; False for NaN and
    infinity.

    This is the only definition of a constant map. It takes numbers, arrays and tensors alike, in float64.
    """
    span = high - low
    return ((span <= ROUNDING * abs(low)) | (span <= ROUNDING * abs(high))) & (span < math.inf)


def unit_range(maps: A, axes: tuple[int, ...] = (-2, -1), constant: float | None = 0.0) -> A:
    """Each map scaled linearly onto [0, 1]: (a − min a) / (max a − min a), over ``axes``; NaN anywhere makes the map NaN.

    Args:
        maps: floating array or tensor of any shape; gradients pass through.
        axes: axes of one map (default: the last two, rows and columns).
        constant: what a constant map becomes (:func:`within_rounding`), because scaling would blow rounding up to a map
            that fills [0, 1]. None: no map counts as constant; one of equal values becomes NaN.

    Returns:
        The same kind, shape and dtype.
    """
    of: Any = np if isinstance(maps, np.ndarray) else torch
    low, high = of.amin(maps, axis=axes, keepdims=True), of.amax(maps, axis=axes, keepdims=True)
    if constant is None:
        return (maps - low) / (high - low)
    flat = within_rounding(*(end.astype(of.float64) if of is np else end.detach().double() for end in (low, high)))
    return of.where(flat, constant, (maps - low) / of.where(flat, 1.0, high - low))


def map_flags(maps: ArrayLike) -> list[str]:
    """Why each of ``maps`` (B, rows, columns), on the CPU, carries no ranking.

    Returns:
        B flags: ``"nan"`` where a value is NaN or infinite, ``"constant"`` where the values differ by no more than
        rounding (:func:`within_rounding`), ``""`` for a sound map.
    """
    values = np.asarray(maps)
    if not len(values):
        return []
    axes = tuple(range(1, values.ndim))
    with np.errstate(invalid="ignore", over="ignore"):
        low, high = values.min(axes).astype(np.float64), values.max(axes).astype(np.float64)
        finite, constant = np.isfinite(low) & np.isfinite(high), within_rounding(low, high)
    return np.where(~finite, "nan", np.where(constant, "constant", "")).tolist()


def tied_share(maps: ArrayLike) -> NDArray[np.float64]:
    """Share of the features of each of ``maps`` (B, rows, columns) whose value equals the value of an earlier feature, (B,).

    This is 1 − (number of different values) / (number of features): 0 without ties, 1 − 1/P for a constant map of P
    features. NaN where a value is not finite.
    """
    values = np.asarray(maps)
    ordered = np.sort(values.reshape(len(values), math.prod(values.shape[1:])), axis=1)
    share = (ordered[:, 1:] == ordered[:, :-1]).sum(1) / max(1, ordered.shape[1])
    return np.where(np.isfinite(ordered).all(1), share, np.nan)


def membership(values: ArrayLike, k: int) -> NDArray[np.float64]:
    """Chance π (..., n) that each entry is among the ``k`` highest of ``values`` (..., n), equal ones in random order.

    π is 1 above the k-th value, (k − number above) / (number equal to it) at it, and 0 below. It sums to k. Without ties
    across the k-th place it is 0 or 1. The expected overlap of two sets whose ties are broken independently and
    uniformly is Σ π^a π^b.

    Args:
        values: (..., n) numbers without NaN.
        k: size of the set, 1 … n.
    """
    rows = np.asarray(values)
    n = rows.shape[-1]
    level = np.partition(rows, n - k, axis=-1)[..., n - k : n - k + 1]
    above, tied = rows > level, rows == level
    left = k - above.sum(axis=-1, keepdims=True)
    return above + tied * (left / tied.sum(axis=-1, keepdims=True))


def membership_of(values: Tensor, k: int) -> Tensor:
    """:func:`membership` of a tensor (..., n), on its device, float64."""
    level = values.topk(k, dim=-1).values[..., -1:]
    above, tied = (values > level).double(), (values == level).double()
    left = k - above.sum(-1, keepdim=True)
    return torch.where(tied > 0, left / tied.sum(-1, keepdim=True), above)

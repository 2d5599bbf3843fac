"""Equality of values within the precision of scores."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

RELATIVE = 2.0**-23
"""Relative distance below which two scores count as equal: the spacing of float32, the precision of the models."""


def snapped(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """``values`` (M, N) of M methods on N images, with values made equal if they agree within the precision of scores.

    Scores are stored as float64, but come from passes in float32. Two values of one image count as equal if they
    differ by at most :data:`RELATIVE` times their magnitude, or times the median magnitude over images if that is
    larger (a value near zero is a difference of larger numbers). Equal values become the smallest of them; chains of
    equal neighbours count as equal. All other values, also non-finite ones, stay bit-identical.
    """
    values = np.asarray(values, dtype=np.float64)
    finite = np.isfinite(values)
    if len(values) < 2 or not finite.any():
        return values
    magnitude = np.where(finite, np.abs(values), 0.0).max(axis=0)
    scale = np.maximum(magnitude, np.median(magnitude[finite.any(axis=0)]))
    order = np.argsort(np.where(finite, values, np.inf), axis=0, kind="stable")
    ordered = np.take_along_axis(values, order, axis=0)
    with np.errstate(invalid="ignore"):
        near = np.diff(ordered, axis=0) <= RELATIVE * scale
    for row in range(1, len(ordered)):
        ordered[row] = np.where(near[row - 1], ordered[row - 1], ordered[row])
    result = np.empty_like(values)
    np.put_along_axis(result, order, ordered, axis=0)
    return np.where(finite, result, values)

"""Top-k sets: the number of swaps that breaks an overlap, and the entries of the cheapest swap.

Every certificate of this package is a function of only two short vectors. A perturbed map breaks the overlap when
``k0`` entries of the top-k set fall to or below ``k0`` entries outside it; the cheapest such swap takes the ``k0``
smallest entries inside and the ``k0`` largest outside.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vitfaith.errors import InputError
from vitfaith.map_values import membership

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


class Swap(NamedTuple):
    """Entries of the cheapest swap: ``inside`` (..., k0) and ``outside`` (..., k0), float64, both in falling order."""

    inside: Floats
    outside: Floats


def exact_fraction(value: float | str | Fraction) -> Fraction:
    """``value`` as the fraction of its shortest decimal form: 0.8 is 4/5, not the nearest binary number."""
    try:
        return value if isinstance(value, Fraction) else Fraction(str(value))
    except ValueError:
        raise InputError(f"beta must be a finite number or a fraction such as '4/5', not {value!r}") from None


def swaps_to_break(k: int, beta: float | str | Fraction) -> int:
    """Smallest number of exchanged entries that makes the top-k overlap fall below ``beta``.

    This is ``floor((1 - beta) k) + 1``, computed with integers: in floating point (1 - 0.8) * 20 is 3.999….

    Args:
        k: size of the top-k set, at least 1.
        beta: overlap ``|T ∩ T'| / k`` to keep, in (0, 1].

    Raises:
        InputError: when ``k`` or ``beta`` is out of range.
    """
    share = exact_fraction(beta)
    if k != int(k) or k < 1:
        raise InputError(f"k must be a whole number of at least 1, not {k}")
    if not 0 < share <= 1:
        raise InputError(f"beta must lie in (0, 1], not {beta}; an overlap of at least 0 needs no certificate")
    return math.floor((1 - share) * int(k)) + 1


def check_top_k(k: int, k0: int, n: int) -> None:
    """Raise :class:`InputError` unless ``k0`` entries can leave the top ``k`` of ``n`` and ``k0`` others enter it."""
    if not 1 <= k0 <= k:
        raise InputError(f"k0 must lie in 1…k={k}, not {k0}")
    if k + k0 > n:
        raise InputError(
            f"k + k0 = {k} + {k0} exceeds the {n} entries of the map, so {k0} swaps cannot happen; choose a smaller k "
            "or a larger beta"
        )


def ranking(maps: ArrayLike) -> Integers:
    """Indices (..., n) int64 of the entries of ``maps`` (..., n) in falling order; ties keep the lower index first."""
    return np.argsort(-np.asarray(maps, dtype=np.float64), axis=-1, kind="stable").astype(np.int64)


def swap_values(lower: ArrayLike, upper: ArrayLike, order: ArrayLike, k: int, k0: int) -> Swap:
    """The values of the cheapest swap, from bounds on every entry and a ranking.

    Args:
        lower: (..., n) lower bounds of the entries; only entries of the top-k set are read.
        upper: (..., n) upper bounds; only entries outside the top-k set are read.
        order: (..., n) permutation whose first ``k`` indices are the set to certify. It may come from other data than
            the bounds.
        k: size of the set.
        k0: number of swaps.

    Returns:
        The ``k0`` smallest lower bounds inside, the ``k0`` largest upper bounds outside; NaN if any bound is NaN.
    """
    low, high = np.asarray(lower, dtype=np.float64), np.asarray(upper, dtype=np.float64)
    indices = np.asarray(order, dtype=np.int64)
    if not low.shape == high.shape == indices.shape:
        raise InputError(f"lower, upper and order must have one shape, not {low.shape}, {high.shape}, {indices.shape}")
    check_top_k(k, k0, low.shape[-1])
    member = np.zeros(low.shape, dtype=bool)
    np.put_along_axis(member, indices[..., :k], True, axis=-1)
    return _swap(low, high, member, ~member, k0)


def worst_swap_values(lower: ArrayLike, upper: ArrayLike, chosen_by: ArrayLike, k: int, k0: int) -> Swap:
    """:func:`swap_values` for the top k of a map with possible ties across the k-th place: the worst case over its sets.

    Entries of ``chosen_by`` that equal its k-th value are in the set or not, depending on how ties are broken. Among them,
    the smallest lower bounds count as inside, and the largest upper bounds as outside. No set with other ties has a
    smaller value inside or a larger value outside, so a certificate holds for every set. Without such ties the result is
    the swap of the only set.

    Args:
        lower: (..., n) lower bounds of the entries.
        upper: (..., n) upper bounds.
        chosen_by: (..., n) the map whose top k is certified; it may come from other data than the bounds.
        k: size of the set.
        k0: number of swaps.
    """
    low, high = np.asarray(lower, dtype=np.float64), np.asarray(upper, dtype=np.float64)
    chance = membership(chosen_by, k)
    check_top_k(k, k0, low.shape[-1])
    tied = (chance > 0) & (chance < 1)
    left = k - (chance == 1).sum(axis=-1, keepdims=True)

    def first(values: Floats, number: Integers) -> NDArray[np.bool_]:
        """The ``number`` tied entries with the smallest ``values``."""
        order = np.argsort(np.where(tied, values, np.inf), axis=-1, kind="stable")
        place = np.argsort(order, axis=-1)
        return np.asarray(tied & (place < number))

    inside = (chance == 1) | first(low, left)
    outside = (chance == 0) | first(-high, tied.sum(axis=-1, keepdims=True) - left)
    return _swap(low, high, inside, outside, k0)


def _swap(low: Floats, high: Floats, inside: NDArray[np.bool_], outside: NDArray[np.bool_], k0: int) -> Swap:
    """The k0 smallest of ``low`` among ``inside`` and the k0 largest of ``high`` among ``outside``."""
    smallest = np.sort(np.where(inside, low, np.inf), axis=-1)[..., :k0]
    largest = np.sort(np.where(outside, high, -np.inf), axis=-1)[..., ::-1][..., :k0]
    # sorting would hide a NaN among the largest
    undefined = (np.isnan(low) | np.isnan(high)).any(axis=-1, keepdims=True)
    return Swap(np.where(undefined, np.nan, smallest[..., ::-1]), np.where(undefined, np.nan, largest))


def exact_swap(maps: ArrayLike, k: int, k0: int) -> Swap:
    """The swap of maps (..., n) that are known exactly: ranks k-k0+1…k and k+1…k+k0 of the sorted map."""
    values = np.asarray(maps, dtype=np.float64)
    return swap_values(values, values, ranking(values), k, k0)

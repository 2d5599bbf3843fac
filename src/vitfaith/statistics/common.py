"""The images on which methods are compared: all images for which every compared method has a value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vitfaith.errors import InputError

COVERAGE = 0.9
"""Default share of the images that a method needs to be compared."""


@dataclass(frozen=True)
class Common:
    """Result of :func:`common_images`.

    Attributes:
        compared: (M,) bool, whether a method has enough images; tables list the others below a line.
        images: (N,) bool, images for which all compared methods have a value.
        own: (M,) int64, number of images with a value, per method.
        asked: number of images for which at least one method has a value.
    """

    compared: NDArray[np.bool_]
    images: NDArray[np.bool_]
    own: NDArray[np.int64]
    asked: int

    @property
    def cells(self) -> NDArray[np.bool_]:
        """(M, N) bool, the compared values."""
        return self.compared[:, None] & self.images[None, :]


def common_images(known: NDArray[np.bool_], coverage: float = COVERAGE) -> Common:
    """Choose the compared methods and images.

    An image without a value from any method (for example, without a mask) does not count. A method needs values for the
    share ``coverage`` of the other images. The compared images are the images for which all such methods have a value.

    Args:
        known: (M, N), whether method m has a finite value for image n.
        coverage: share in [0, 1]; 0 compares every method that has any value.

    Raises:
        InputError: coverage is out of range.
    """
    if not 0 <= coverage <= 1:
        raise InputError(f"coverage={coverage} must be between 0 and 1")
    own = known.sum(axis=1, dtype=np.int64)
    asked = int(known.any(axis=0).sum())
    # rounding of coverage × asked must not exclude a method with exactly that share
    compared = (own > 0) & (own >= coverage * asked - 1e-9 * asked)
    images = known[compared].all(axis=0) if compared.any() else np.zeros(known.shape[1], bool)
    return Common(compared, images, own, asked)


def mark_common(scores: pd.DataFrame, by: Sequence[str], coverage: float = COVERAGE) -> pd.DataFrame:
    """``scores`` with the columns ``common`` (bool), ``compared`` (bool) and ``asked`` (int64).

    Within every combination of the columns ``by`` the methods are compared by :func:`common_images`. ``common``:
    whether the row's value is compared. ``compared``: whether its method is above the line. ``asked``: number of images
    with a value from any method. Several rows of one method and image in a group count as one value; it is known if all
    of them are finite.

    Args:
        scores: rows with method, image_id, value and the columns ``by``.
        by: columns that make a group; never ``method``.
        coverage: see :func:`common_images`.
    """
    common, compared = np.zeros(len(scores), bool), np.zeros(len(scores), bool)
    asked = np.zeros(len(scores), np.int64)
    finite = np.isfinite(scores["value"].to_numpy(dtype=np.float64))
    methods = pd.factorize(scores["method"].astype(str))[0]
    images = pd.factorize(scores["image_id"].astype(str))[0]
    if by:
        groups = scores.groupby(list(by), sort=False, observed=True, dropna=False).ngroup().to_numpy()
    else:
        groups = np.zeros(len(scores), np.int64)
    order = np.argsort(groups, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(groups[order])) + 1) if len(order) else []:
        method, row = np.unique(methods[rows], return_inverse=True)
        image, column = np.unique(images[rows], return_inverse=True)
        total, known = (np.zeros((len(method), len(image)), np.int64) for _ in range(2))
        np.add.at(total, (row, column), 1)
        np.add.at(known, (row, column), finite[rows])
        found = common_images((total > 0) & (known == total), coverage)
        common[rows] = found.cells[row, column]
        compared[rows] = found.compared[row]
        asked[rows] = found.asked
    return scores.assign(common=common, compared=compared, asked=asked)


def comparable(table: pd.DataFrame, coverage: float = COVERAGE) -> tuple[pd.DataFrame, list[str], Common]:
    """The part of ``table`` (methods × images) that is compared, the methods below the line, and the full result."""
    found = common_images(np.isfinite(table.to_numpy(dtype=np.float64)), coverage)
    below = [str(name) for name in table.index[~found.compared]]
    return table.loc[found.compared, found.images], below, found

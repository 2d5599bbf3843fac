"""Which pairs of groups break SaCo: the pair matrix of every image, averaged over images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vitfaith.statistics import COVERAGE, Common, common_images
from vitfaith.tables.collect import CONDITION
from vitfaith.tables.grid import Grid, grid_of

KEYS = [*CONDITION, "method", "variant"]
NAMES = ("method", "variant", "step")
FIELDS = ("salience", "probability")
COLUMNS = [*KEYS, "first", "second", "broken", "contribution", "n", "compared", "asked"]


def pair_table(curves: pd.DataFrame, coverage: float = COVERAGE) -> pd.DataFrame:
    """One row per (condition, method, variant, pair of groups) with columns first < second, 1 the most salient group.

    ``broken``: share of images on which the more salient group causes the smaller drop, of those on which the two differ in
    salience; NaN where none does. ``contribution``: mean over images of ±(s_i − s_j) / Σ |s_i − s_j|; over all pairs these
    add up to the mean of SaCo. ``n``: the images that all compared methods have, without those where a map is constant or
    could not be scored; a method below the line (``compared`` is false) is averaged over its own images.

    Args:
        curves: rows of schema ``CURVES`` with the condition's columns.
        coverage: see :func:`~vitfaith.statistics.common.common_images`.
    """
    found = []
    for key, rows in curves[curves.curve == "groups"].groupby(CONDITION, observed=True):
        grid = grid_of(rows, NAMES, FIELDS)
        found.append(pairs_of(grid, dict(zip(CONDITION, map(str, key), strict=True)), coverage))
    return joined(found)


def joined(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The tables of several conditions as one."""
    kept = [part for part in parts if len(part)]
    return pd.concat(kept, ignore_index=True) if kept else pd.DataFrame(columns=COLUMNS)


def pairs_of(grid: Grid, place: Mapping[str, str], coverage: float = COVERAGE) -> pd.DataFrame:
    """:func:`pair_table` of one condition, from a grid of the keys :data:`NAMES` and the fields :data:`FIELDS`."""
    common: dict[str, Common] = {}
    numbers = {(m, v): [n for _, n in grid.numbers(method=m, variant=v)] for m, v in grid.values("method", "variant")}
    for variant in sorted({variant for _, variant in numbers}):
        known = [_scored(grid, numbers[m, v]) for m, v in numbers if v == variant]
        common[variant] = common_images(np.stack(known), coverage)
    seen: dict[str, int] = {}
    parts = []
    for (method, variant), steps in numbers.items():
        shared, index = common[variant], seen.setdefault(variant, 0)
        seen[variant] += 1
        compared = bool(shared.compared[index])
        kept = grid.present[steps].any(0) & (shared.images | ~shared.compared[index])
        if not kept.any():
            continue
        salience, probability = (grid.fields[name][steps][:, kept].T.astype(float) for name in FIELDS)
        names = {**place, "method": method, "variant": variant, "compared": compared, "asked": shared.asked}
        parts.append(_pairs(salience, probability).assign(**names)[COLUMNS])
    return joined(parts)


def _scored(grid: Grid, steps: Sequence[int]) -> NDArray[np.bool_]:
    """(N,) images whose groups differ in salience and have a probability each."""
    salience, present = grid.fields["salience"][list(steps)], grid.present[list(steps)]
    with np.errstate(invalid="ignore"):
        spread = np.fmax.reduce(salience, axis=0) - np.fmin.reduce(salience, axis=0)
        known = np.isfinite(grid.fields["probability"][list(steps)]) & ~np.isnan(salience) & (spread > 0)
    return np.asarray(present.any(0) & (known | ~present).all(0))


def _pairs(salience: NDArray[np.float64], probability: NDArray[np.float64]) -> pd.DataFrame:
    """The pairs of groups from values (N, K) of N images and K groups in the order of their salience."""
    first, second = np.triu_indices(salience.shape[1], 1)
    weight, total, known = pair_weights(salience, probability)
    weight, total = weight[known], total[known]
    with np.errstate(invalid="ignore"):
        share = (weight < 0).sum(0) / (weight != 0).sum(0)
        contribution = (weight / total[:, None]).sum(0) / len(weight)
    return pd.DataFrame(
        {"first": first + 1, "second": second + 1, "broken": share, "contribution": contribution, "n": len(weight)}
    )


def pair_weights(
    salience: NDArray[np.float64], probability: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Signed weights (N, K(K − 1)/2) of the pairs, negative where broken; sums of their sizes (N,); whether SaCo is defined (N,)."""
    first, second = np.triu_indices(salience.shape[1], 1)
    gap = salience[:, first] - salience[:, second]
    smaller = probability[:, first] > probability[:, second]  # the drop of the first; the clean answer cancels
    total = np.abs(gap).sum(1)
    known = np.isfinite(total) & (total > 0) & np.isfinite(probability).all(1)
    return np.where(smaller, -gap, gap), total, known

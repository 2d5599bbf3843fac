"""Which pairs of groups break SaCo: the pair matrix of every image, averaged over images."""

from __future__ import annotations

import numpy as np
import pandas as pd

from vitfaith.statistics import COVERAGE, mark_common
from vitfaith.tables.collect import CONDITION

KEYS = [*CONDITION, "method", "variant"]
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
    groups = curves[curves.curve == "groups"]
    if groups.empty:
        return pd.DataFrame(columns=COLUMNS)
    salience = groups.groupby([*KEYS, "image_id"], observed=True)["salience"]
    spread = (salience.transform("max") - salience.transform("min")).where(groups["salience"].notna())
    scored = groups["probability"].where(spread > 0)
    groups = mark_common(groups.assign(value=scored), [*CONDITION, "variant"], coverage)
    groups = groups[groups["common"] | ~groups["compared"]]
    parts = [
        _pairs(part).assign(
            compared=bool(part["compared"].iloc[0]),
            asked=int(part["asked"].iloc[0]),
            **dict(zip(KEYS, map(str, key), strict=True)),
        )
        for key, part in groups.groupby(KEYS, observed=True)
    ]
    return pd.concat([p[COLUMNS] for p in parts] or [pd.DataFrame(columns=COLUMNS)], ignore_index=True)


def _pairs(part: pd.DataFrame) -> pd.DataFrame:
    count = part.step.nunique()
    ordered = part.sort_values(["image_id", "step"])
    salience, probability = (ordered[c].to_numpy(float).reshape(-1, count) for c in ("salience", "probability"))
    first, second = np.triu_indices(count, 1)
    gap = salience[:, first] - salience[:, second]
    smaller = probability[:, first] > probability[:, second]  # the drop of the first; the clean answer cancels
    weight = np.where(smaller, -gap, gap)
    total = np.abs(gap).sum(1)
    known = np.isfinite(total) & (total > 0) & np.isfinite(probability).all(1)
    weight, total = weight[known], total[known]
    with np.errstate(invalid="ignore"):
        share = (weight < 0).sum(0) / (weight != 0).sum(0)
        contribution = (weight / total[:, None]).sum(0) / len(weight)
    return pd.DataFrame(
        {"first": first + 1, "second": second + 1, "broken": share, "contribution": contribution, "n": len(weight)}
    )

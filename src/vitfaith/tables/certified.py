"""Certificates in numbers: radii over images for each condition, method, certificate, k and beta."""

from __future__ import annotations

import numpy as np
import pandas as pd

from vitfaith.statistics import COVERAGE, mark_common
from vitfaith.tables.collect import CONDITION

KEYS = [
    *CONDITION,
    "method",
    "certificate",
    "base",
    "bound",
    "k",
    "beta",
    "sigma",
    "alpha",
    "selection",
    "samples",
    "sound",
]


def certified_summary(rows: pd.DataFrame, coverage: float = COVERAGE) -> pd.DataFrame:
    """One row per certificate of a condition.

    ``n_own`` images with a radius, ``flagged`` those without (constant or undefined maps), ``n`` of them that all compared
    methods have (``compared`` is false for a method that has too few, whose numbers are over its own images), ``certified`` the share of all with
    a radius above 0, ``accurate`` the share whose certified class is also the label (NaN for maps alone), quantiles
    and mean of the radius over all n images, with radius 0 where nothing is certified, and the shares limited by each part of a
    joint certificate.
    """
    if rows.empty:
        return pd.DataFrame(columns=KEYS)
    found = []
    rows = mark_common(rows.assign(value=rows["radius"].astype(float)), [k for k in KEYS if k != "method"], coverage)
    for key, part in rows.groupby(KEYS, observed=True, sort=True, dropna=False):
        radius = part["radius"].to_numpy(float)
        own = int(np.count_nonzero(~np.isnan(radius)))
        compared = bool(part["compared"].iloc[0])
        known = radius[part["common"].to_numpy(bool) if compared else ~np.isnan(radius)]
        predicted = part["prediction"].notna().to_numpy()
        right = (part["prediction"] == part["label"]).to_numpy(bool) & (radius > 0)
        quantiles = np.quantile(known, [0.25, 0.5, 0.75]) if len(known) else [np.nan] * 3
        joint = part["limit"].isin(["map", "prediction"]).any()
        found.append(
            dict(zip(KEYS, key, strict=True))
            | {
                "n": len(known),
                "flagged": len(part) - own,
                "compared": compared,
                "n_own": own,
                "certified": float((radius > 0).sum() / len(part)),
                "accurate": float(right.mean()) if predicted.all() else np.nan,
                "mean": float(known.mean()) if len(known) else np.nan,
                "mean_if_accurate": float(np.where(right, radius, 0.0).mean()) if predicted.all() else np.nan,
                "q25": float(quantiles[0]),
                "median": float(quantiles[1]),
                "q75": float(quantiles[2]),
                "largest": float(known.max()) if len(known) else np.nan,
                "limited_by_map": float((part["limit"] == "map").mean()) if joint else np.nan,
            }
        )
    return pd.DataFrame(found)

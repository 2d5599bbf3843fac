"""Certificates in numbers: radii over images for each condition, method, certificate, k and beta."""

from __future__ import annotations

import numpy as np
import pandas as pd

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


def certified_summary(rows: pd.DataFrame) -> pd.DataFrame:
    """One row per certificate of a condition.

    ``n`` images with a radius, ``flagged`` those without (constant or undefined maps), ``certified`` the share of all with
    a radius above 0, ``accurate`` the share whose certified class is also the label (NaN for maps alone), quantiles
    and mean of the radius over all n, with radius 0 where nothing is certified, and the shares limited by each part of a
    joint certificate.
    """
    if rows.empty:
        return pd.DataFrame(columns=KEYS)
    found = []
    for key, part in rows.groupby(KEYS, observed=True, sort=True, dropna=False):
        radius = part["radius"].to_numpy(float)
        known = radius[~np.isnan(radius)]
        predicted = part["prediction"].notna().to_numpy()
        right = (part["prediction"] == part["label"]).to_numpy(bool) & (radius > 0)
        quantiles = np.quantile(known, [0.25, 0.5, 0.75]) if len(known) else [np.nan] * 3
        joint = part["limit"].isin(["map", "prediction"]).any()
        found.append(
            dict(zip(KEYS, key, strict=True))
            | {
                "n": len(known),
                "flagged": len(part) - len(known),
                "certified": float((known > 0).sum() / len(part)),
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

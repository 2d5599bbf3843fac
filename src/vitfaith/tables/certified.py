"""Certificates in numbers: radii over images for each condition, method, certificate, k and beta."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from vitfaith.noise import certified_noise
from vitfaith.smoothings.registry import SMOOTHINGS
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


def with_norms(
    rows: pd.DataFrame, smoothings: Mapping[str, Mapping[str, Any]], norms: Mapping[str, Mapping[str, str]]
) -> pd.DataFrame:
    """``rows`` with the columns ``noise`` (law of the noise) and ``l1`` (certified radius in l1).

    A radius in l2 is one in l1 too, since ‖δ‖₂ ≤ ‖δ‖₁. A certificate that finds its radius in l1 stored it divided by √d,
    and √d is the ratio of the stored ``radius`` and ``linf``.

    Args:
        rows: of schema CERTIFICATES, with the column smoothing.
        smoothings: specification of each smoothing.
        norms: for each certificate, law of noise → norm in which it finds its radius.
    """
    laws = {name: certified_noise(SMOOTHINGS.from_spec(spec).parameters) for name, spec in smoothings.items()}
    noise = rows["smoothing"].astype(str).map(laws)
    norm = [norms.get(str(c), {}).get(n, "l2") for c, n in zip(rows["certificate"], noise, strict=True)]
    radius, linf = rows["radius"].to_numpy(float), rows["linf"].to_numpy(float)
    finite = np.isfinite(radius) & (linf > 0)
    root = np.divide(radius, linf, out=np.ones_like(radius), where=finite)
    return rows.assign(noise=noise, l1=np.where(np.array(norm, dtype=str) == "l1", radius * root, radius))


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

"""Certificates in numbers: radii over images for each condition, method, certificate, k and beta."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from vitfaith.artifacts.schemas import CERTIFICATES
from vitfaith.artifacts.store import open_parquet, read_table
from vitfaith.noise import certified_noise
from vitfaith.smoothings.registry import SMOOTHINGS
from vitfaith.statistics import COVERAGE, mark_common
from vitfaith.tables.clusters import Images
from vitfaith.tables.collect import CONDITION, sort_rows
from vitfaith.tables.files import StageFiles, stage_files
from vitfaith.tables.growing import GrowingTable, empty_frame, with_column

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
    # a study without certificates has no file whose path names a smoothing
    smoothing = rows["smoothing"] if "smoothing" in rows else pd.Series(index=rows.index, dtype=str)
    noise = smoothing.astype(str).map(laws)
    norm = [norms.get(str(c), {}).get(n, "l2") for c, n in zip(rows["certificate"], noise, strict=True)]
    radius, linf = rows["radius"].to_numpy(float), rows["linf"].to_numpy(float)
    finite = np.isfinite(radius) & (linf > 0)
    root = np.divide(radius, linf, out=np.ones_like(radius), where=finite)
    return rows.assign(noise=noise, l1=np.where(np.array(norm, dtype=str) == "l1", radius * root, radius))


def write_certificates(spec: Mapping[str, Any], results: str, images: Mapping[str, Images], path: Path) -> pd.DataFrame:
    """Write the table ``certificates``; returns its summary (:func:`certified_summary`).

    Raises:
        ArtifactError: a file is missing or damaged.
    """
    files = stage_files(spec, results, "certificates", family=False)
    partitions = {name: files.column(name, np.zeros(0, np.int32)) for name in files.values}
    lacking = [name for name in ("label", "prediction") if _has_nulls(files, name)]
    coverage = spec["statistics"]["coverage"]
    summaries = []
    empty = empty_frame({**{f.name: pa.array([], f.type) for f in CERTIFICATES}, **partitions})
    empty = with_norms(empty.astype(dict.fromkeys(lacking, float)), spec["smoothings"], {})
    with GrowingTable(path, empty) as out:
        for place, paths in files.parts:
            table = pa.concat_tables([read_table(one, CERTIFICATES) for one in paths])
            for name, column in files.columns(place, len(table)).items():
                table = table.append_column(name, column)
            # a column of integers with nulls is one of floats in a data frame, and so it is for all conditions
            rows = table.to_pandas().astype(dict.fromkeys(lacking, float))
            rows = rows[rows.method.isin([*spec["explainers"], ""]) & rows.certificate.isin(spec["certificates"])]
            rows = with_norms(rows, spec["smoothings"], spec.get("norms", {}))
            rows = sort_rows(rows, ["certificate", "method", "k"])
            own = images[place["dataset"]]
            clusters = None if own.clusters is None else own.clusters[own.names.get_indexer(pd.Index(rows["image_id"]))]
            summaries.append(certified_summary(rows, coverage))
            out.add(with_column(rows, clusters))
    kept = [part for part in summaries if len(part)]
    return pd.concat(kept, ignore_index=True) if kept else pd.DataFrame(columns=KEYS)


def _has_nulls(files: StageFiles, column: str) -> bool:
    handles = (open_parquet(path, CERTIFICATES) for _, paths in files.parts for path in paths)
    return any(handle.read(columns=[column]).column(0).null_count for handle in handles)


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

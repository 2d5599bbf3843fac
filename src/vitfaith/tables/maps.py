"""What can be said of the maps themselves: how many rank nothing, and how many of their features tie."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from vitfaith.artifacts.schemas import MAPS
from vitfaith.artifacts.store import open_parquet, partition_values
from vitfaith.tables.collect import CONDITION, cell_files

COLUMNS = [*CONDITION, "method", "n", "constant", "nan", "tied"]


def map_summary(spec: Mapping[str, Any], results: str) -> pd.DataFrame:
    """One row per (condition, method): number of maps ``n``, how many of them are ``constant`` or ``nan``, and ``tied``.

    ``tied`` is the mean share of a map's features whose value equals that of an earlier one, over the maps without NaN.

    Raises:
        ArtifactError: a file of maps is missing, damaged, or of a version without the column ``tied``.
    """
    parts = []
    for path in cell_files(spec, results, "attribute"):
        condition = partition_values(path)
        rows = open_parquet(path, MAPS).read(columns=["method", "flag", "tied"]).to_pandas()
        parts.append(rows.assign(**{name: condition[name] for name in CONDITION}))
    if not parts:
        return pd.DataFrame(columns=COLUMNS)
    frame = pd.concat(parts, ignore_index=True)
    frame = frame[frame.method.isin(spec["explainers"])]
    frame = frame.assign(constant=frame.flag == "constant", nan=frame.flag == "nan")
    grouped = frame.groupby([*CONDITION, "method"], sort=True)
    found = grouped.agg(n=("flag", "size"), constant=("constant", "sum"), nan=("nan", "sum"), tied=("tied", "mean"))
    return found.reset_index()[COLUMNS]

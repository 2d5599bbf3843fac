"""What explanations cost: counted passes an image, from the provenance of the map files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from vitfaith.artifacts.schemas import MAPS
from vitfaith.artifacts.store import partition_values, read_provenance, read_table
from vitfaith.tables.collect import cell_files


def cost_table(spec: Mapping[str, Any], results: str) -> pd.DataFrame:
    """One row per (model, method): forwards and backwards an image on clean images without smoothing.

    Methods of a family share their passes: each row has what the family as a whole cost, and how many methods share it.
    """
    rows = []
    for path in cell_files(spec, results, "attribute"):
        parts = partition_values(path)
        if parts["attack"] != "clean" or parts["smoothing"] != "none":
            continue
        table = read_table(path, MAPS)
        methods = table.column("method").unique().to_pylist()
        facts = read_provenance(path)
        images = len(table) // max(1, len(methods))
        counts = {key: facts[key] / max(1, images) for key in ("forwards", "backwards")}
        rows += [
            {"model": parts["model"], "family": parts["family"], "method": m, "sharing": len(methods), **counts}
            for m in methods
        ]
    columns = ["model", "family", "method", "sharing", "forwards", "backwards"]
    frame = pd.DataFrame(rows, columns=columns)
    return frame.groupby(columns[:4], as_index=False).mean()

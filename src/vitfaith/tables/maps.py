"""Facts in map files beside the maps: shares of flagged maps and tied features, cost, and differing classes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pyarrow import parquet

from vitfaith.artifacts.schemas import MAPS
from vitfaith.artifacts.store import open_parquet, partition_values, provenance_of
from vitfaith.explained import CLEAN_PREDICTION, COLUMN
from vitfaith.tables.collect import CONDITION, INPUT
from vitfaith.tables.files import Place, by_input, stage_files

COLUMNS = [*CONDITION, "method", "n", "constant", "nan", "tied"]
COSTS = ["model", "family", "method", "sharing", "forwards", "backwards"]


class MapFacts:
    """The tables that are read from files of maps, each of which is opened once and without its maps.

    Attributes:
        maps: see :func:`map_summary`.
        costs: one row per (model, method): forwards and backwards per image, on clean images without smoothing. Methods of a
            family share their passes: each row has the cost of the whole family, and the number of methods that share it.
        differ: share of the images of a condition whose class differs from the class of the ``opponent``; no rows where one class
            alone is explained.

    Raises:
        ArtifactError: a file of maps is missing, damaged, or of a version without the column ``tied``.
    """

    def __init__(self, spec: Mapping[str, Any], results: str) -> None:
        files = stage_files(spec, results, "attribute")
        several = len(files.values.get(COLUMN, ())) > 1
        summaries: list[pd.DataFrame] = []
        differ: list[tuple[Any, ...]] = []
        self._costs: list[dict[str, Any]] = []
        for together in by_input(files):
            targets = {}
            for place, paths in together:
                rows = pd.concat([self._read(path, targets=several) for path in paths], ignore_index=True)
                summaries.append(_summary(rows[rows.method.isin(spec["explainers"])], place))
                if several:
                    targets[place[COLUMN]] = rows.drop_duplicates("image_id").set_index("image_id")["target"]
            if several:
                differ += _differing(together[0][0], targets)
        found = [part for part in summaries if len(part)]
        self.maps = pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=COLUMNS)
        self.maps = self.maps.sort_values([*CONDITION, "method"], ignore_index=True)[COLUMNS]
        self.costs = pd.DataFrame(self._costs, columns=COSTS).groupby(COSTS[:4], as_index=False).mean()
        self.differ = pd.DataFrame(differ, columns=[*CONDITION, "opponent", "differ"])

    def _read(self, path: Path, *, targets: bool) -> pd.DataFrame:
        handle = open_parquet(path, MAPS)
        place = partition_values(path)
        columns = ["method", "flag", "tied", *(("image_id", "target") if targets else ())]
        rows: pd.DataFrame = handle.read(columns=columns).to_pandas()
        if (place["attack"], place["smoothing"]) == ("clean", "none"):
            methods = list(rows["method"].unique())
            facts, images = provenance_of(handle), len(rows) // max(1, len(methods))
            counts = {key: facts.get(key, float("nan")) / max(1, images) for key in ("forwards", "backwards")}
            named = {"model": place["model"], "family": place["family"], "sharing": len(methods)}
            self._costs += [{**named, "method": method, **counts} for method in methods]
        return rows


def summary_of_files(files: Iterable[Path]) -> pd.DataFrame:
    """The rows of :func:`map_summary` for files of maps, all files of a condition together; files of versions without ``tied`` are left out.

    Raises:
        ArtifactError: a file is damaged.
    """
    parts: list[pd.DataFrame] = []
    for path in files:
        if "tied" in parquet.read_schema(path).names:
            rows: pd.DataFrame = open_parquet(path, MAPS).read(columns=["method", "flag", "tied"]).to_pandas()
            parts.append(rows.assign(**{COLUMN: CLEAN_PREDICTION, **partition_values(path)}))
    if not parts:
        return pd.DataFrame(columns=COLUMNS)
    together = pd.concat(parts, ignore_index=True).groupby(CONDITION)
    found = [_summary(rows, dict(zip(CONDITION, map(str, place), strict=True))) for place, rows in together]
    return pd.concat(found, ignore_index=True)


def map_summary(spec: Mapping[str, Any], results: str) -> pd.DataFrame:
    """One row per (condition, method): number of maps ``n``, how many of them are ``constant`` or ``nan``, and ``tied``.

    ``tied`` is the mean share of a map's features whose value equals the value of an earlier feature, over the maps without NaN.

    Raises:
        ArtifactError: a file of maps is missing, damaged, or of a version without the column ``tied``.
    """
    return MapFacts(spec, results).maps


def _summary(rows: pd.DataFrame, place: Place) -> pd.DataFrame:
    rows = rows.assign(constant=rows.flag == "constant", nan=rows.flag == "nan")
    grouped = rows.groupby("method", sort=True)
    found = grouped.agg(n=("flag", "size"), constant=("constant", "sum"), nan=("nan", "sum"), tied=("tied", "mean"))
    return found.reset_index().assign(**{name: place[name] for name in CONDITION})[COLUMNS]


def _differing(place: Place, targets: Mapping[str, pd.Series]) -> Sequence[tuple[Any, ...]]:
    """One row for each ordered pair of explained classes of the same images."""
    classes = pd.DataFrame(dict(sorted(targets.items()))).sort_index()
    key = [place[name] for name in INPUT]
    return [
        (*key, one, other, float(np.mean(classes[one] != classes[other])))
        for one in classes
        for other in classes.columns.drop([one])
    ]

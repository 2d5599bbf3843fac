"""The rows behind the gallery: images chosen by a rule, with their maps, predictions and SaCo in every condition."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from vitfaith.artifacts.schemas import IMAGES, MAPS, PREDICTIONS, SCORES, SHARDS, TRUTH
from vitfaith.artifacts.store import open_parquet, partition_values, read_provenance
from vitfaith.tables.clusters import Images, shards_of
from vitfaith.tables.collect import CONDITION, INPUT, cell_files, sort_rows
from vitfaith.tables.files import stage_files


def _names(spec: Mapping[str, Any], results: str, frame: pd.DataFrame) -> list[str | None]:
    """Name of the predicted class of each row, None where neither dataset nor model told any."""
    told: dict[tuple[str, str], list[str]] = {}
    for path in cell_files(spec, results, "attack", family=False):
        place = partition_values(path)
        if (place["dataset"], place["model"]) not in told:
            told[place["dataset"], place["model"]] = read_provenance(path).get("classes", [])
    return [
        told[d, m][p] if p < len(told[d, m]) else None
        for d, m, p in zip(frame.dataset, frame.model, frame.prediction, strict=True)
    ]


Holders = Mapping[str, Collection[str]]
"""Dataset → the shards that hold chosen images."""


def _truth(spec: Mapping[str, Any], results: str, wanted: Collection[str], holders: Holders) -> pd.DataFrame:
    """Segmentations of the ``wanted`` images: columns dataset, image_id, truth; no row for an image without one."""
    parts = [pd.DataFrame({"dataset": [], "image_id": [], TRUTH.name: []}, dtype=object)]
    for dataset, path in shards_of(spec, results):
        if path.stem in holders[dataset]:
            frame = read_rows(path, SHARDS, wanted, ["image_id", TRUTH.name]).to_pandas()
            parts.append(frame[frame[TRUTH.name].notna()].assign(dataset=dataset))
    return pd.concat(parts, ignore_index=True)


def read_rows(path: Path, schema: pa.Schema, wanted: Collection[str], columns: Sequence[str] | None = None) -> pa.Table:
    """The rows of the ``wanted`` images in one file, with ``columns``; row groups without them are not read beyond their ids.

    Raises:
        ArtifactError: the file is missing or damaged.
    """
    handle = open_parquet(path, schema)
    names = [name for name in columns or schema.names if name in handle.schema_arrow.names]
    kept, found = pa.array(list(wanted), pa.string()), []
    for group in range(handle.num_row_groups):
        ids = handle.read_row_group(group, columns=["image_id"]).column("image_id")
        rows = pc.is_in(ids, value_set=kept)
        if pc.any(rows).as_py():
            found.append(handle.read_row_group(group, columns=names).filter(rows))
    whole = pa.concat_tables(found) if found else schema.empty_table().select(names)
    for name in columns or schema.names:
        if name not in names:
            whole = whole.append_column(name, pa.nulls(len(whole), schema.field(name).type))
    return whole


def gallery_table(
    spec: Mapping[str, Any], results: str, roles: Mapping[str, str], images: Mapping[str, Images]
) -> pd.DataFrame:
    """One row per (condition, image, method), for the chosen images; only the shards that hold them are read.

    Columns: role, condition, image, method, map, pixels of the input, prediction and its name, SaCo, and the segmentation
    (as in shards; None without one).

    Args:
        roles: image → role (:class:`vitfaith.tables.chosen.Chooser`).
        images: dataset → its images.
    """
    wanted = sorted(roles)
    holders = {d: set(own.shards[own.names.isin(wanted)]) for d, own in images.items()}

    def read(stage: str, schema: pa.Schema, columns: Sequence[str], *, family: bool) -> pd.DataFrame:
        files = stage_files(spec, results, stage, family=family)
        parts = []
        for place, paths in files.parts:
            for path in (path for path in paths if path.stem in holders[place["dataset"]]):
                table = read_rows(path, schema, wanted, columns)
                for name, value in partition_values(path).items():
                    place_in = np.full(len(table), files.values[name].index(value))
                    table = table.append_column(name, files.column(name, place_in))
                parts.append(table)
        return pa.concat_tables(parts).to_pandas()

    maps = read("attribute", MAPS, ["image_id", "method", "target", "rows", "columns", "map"], family=True)
    picture = ["label", "channels", "height", "width", "pixels"]
    pictures = read("attack", IMAGES, ["image_id", *picture], family=False)
    predictions = read("predictions", PREDICTIONS, ["image_id", "prediction", "probabilities"], family=False)
    scores = read("scores", SCORES, ["image_id", "method", "metric", "variant", "value"], family=True)
    scores = scores[scores.method.isin(spec["explainers"]) & scores.metric.isin(spec["metrics"])]
    saco = sort_rows(scores[scores.metric.str.startswith("saco")], [*CONDITION, "method", "metric", "variant"])
    saco = saco.drop_duplicates([*CONDITION, "image_id", "method"])
    keys = ["dataset", "model", "attack", "image_id"]
    columns = [*CONDITION, "image_id", "method", "target", "rows", "columns", "map"]
    frame = maps[maps.method.isin(spec["explainers"])][columns]
    frame = frame.merge(pictures[[*keys, *picture]], on=keys, how="left")
    frame["target"] = frame.pop("target")  # beside the other classes
    frame = frame.merge(
        predictions[[*INPUT, "image_id", "prediction", "probabilities"]],
        on=[*INPUT, "image_id"],
        how="left",
    )
    frame["prediction_probability"] = [p[i] for p, i in zip(frame.probabilities, frame.prediction, strict=True)]
    frame = frame.drop(columns="probabilities")
    frame["prediction_name"] = _names(spec, results, frame)
    frame = frame.merge(
        saco[[*CONDITION, "image_id", "method", "value"]].rename(columns={"value": "saco"}),
        on=[*CONDITION, "image_id", "method"],
        how="left",
    )
    frame = frame.merge(_truth(spec, results, wanted, holders), on=["dataset", "image_id"], how="left")
    frame[TRUTH.name] = frame[TRUTH.name].astype(object).where(frame[TRUTH.name].notna(), None)
    frame.insert(0, "role", frame.image_id.map(roles))
    return frame.sort_values([*CONDITION, "image_id", "method"], ignore_index=True)

"""The rows behind the gallery: images chosen by a rule, with their maps, predictions and SaCo in every condition."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import pandas as pd
import pyarrow as pa

from vitfaith.artifacts.schemas import MAPS, PREDICTIONS, SCORES, SHARDS, TRUTH
from vitfaith.tables.clusters import Images, shards_of
from vitfaith.tables.collect import CONDITION, INPUT, sort_rows
from vitfaith.tables.rows import ChosenRows, class_names, read_rows

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

    rows = ChosenRows(spec, results, dict.fromkeys(images, wanted), images)
    read = rows.read
    maps = read("attribute", MAPS, ["image_id", "method", "target", "rows", "columns", "map"], family=True)
    picture = ["label", "channels", "height", "width", "pixels"]
    pictures = pa.concat_tables(rows.pictures(["image_id", *picture])).to_pandas()
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
    names = class_names(spec, results)
    frame["prediction_name"] = names.of(frame, "prediction")
    frame = frame.merge(
        saco[[*CONDITION, "image_id", "method", "value"]].rename(columns={"value": "saco"}),
        on=[*CONDITION, "image_id", "method"],
        how="left",
    )
    frame = frame.merge(_truth(spec, results, wanted, holders), on=["dataset", "image_id"], how="left")
    frame[TRUTH.name] = frame[TRUTH.name].astype(object).where(frame[TRUTH.name].notna(), None)
    frame.insert(0, "role", frame.image_id.map(roles))
    return frame.sort_values([*CONDITION, "image_id", "method"], ignore_index=True)

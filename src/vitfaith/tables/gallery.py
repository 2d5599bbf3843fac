"""The rows behind the gallery: images chosen by a rule, with their maps, predictions and SaCo in every condition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from vitfaith.artifacts.paths import Condition, artifact
from vitfaith.artifacts.schemas import IMAGES, MAPS, PREDICTIONS, SHARDS, TRUTH
from vitfaith.artifacts.store import open_parquet, partition_values, read_dataset, read_provenance
from vitfaith.statistics import COVERAGE, mark_common
from vitfaith.tables.collect import CONDITION, INPUT, cell_files


def choose_images(
    scores: pd.DataFrame, per_role: int = 1, coverage: float = COVERAGE, explained: str | None = None
) -> dict[str, str]:
    """Image id → role: best, median and worst by SaCo averaged over compared methods and conditions (ties by id).

    Where ``explained`` is given, maps of that class alone count, so that further classes change no choice. Without an image that all of them have the images with the lowest ids are taken, under the role "first".
    """
    saco = scores[scores.metric.str.startswith("saco")]
    if explained is not None:
        saco = saco[saco.explained.astype(str) == explained]
    saco = mark_common(saco, [*CONDITION, "metric", "variant"], coverage)
    cells = saco[saco.compared].drop_duplicates([*CONDITION, "metric", "variant", "method"])
    asked = saco.dataset.astype(str).map(cells.dataset.astype(str).value_counts())
    # an image's mean is over all cells of its dataset that are compared, so that images are chosen by the same methods
    found = saco.groupby(["dataset", "image_id"], observed=True).common.transform("sum")
    saco = saco[saco.common & (found == asked)]
    if saco.empty:
        return dict.fromkeys(sorted(scores.image_id.unique())[: 3 * per_role], "first")
    mean = saco.groupby("image_id", observed=True).value.mean().reset_index()
    order = mean.sort_values(["value", "image_id"], ascending=[False, True]).image_id.tolist()
    middle = max(0, (len(order) - per_role) // 2)
    roles = {"worst": order[-per_role:], "median": order[middle : middle + per_role], "best": order[:per_role]}
    return {image: role for role, images in roles.items() for image in images}


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


def _truth(spec: Mapping[str, Any], results: str, wanted: Sequence[str]) -> pd.DataFrame:
    """Segmentations of the ``wanted`` images: columns dataset, image_id, truth; no row for an image without one."""
    parts = [pd.DataFrame({"dataset": [], "image_id": [], TRUTH.name: []}, dtype=object)]
    for dataset, shards in spec["shards"].items():
        for shard in shards:
            handle = open_parquet(Path(artifact(results, "shard", Condition(dataset, "", "", ""), None, shard)), SHARDS)
            if TRUTH.name in handle.schema_arrow.names:
                frame = handle.read(columns=["image_id", TRUTH.name]).to_pandas()
                frame = frame[frame.image_id.isin(wanted) & frame[TRUTH.name].notna()]
                parts.append(frame.assign(dataset=dataset))
    return pd.concat(parts, ignore_index=True)


def gallery_table(spec: Mapping[str, Any], results: str, scores: pd.DataFrame) -> pd.DataFrame:
    """One row per (condition, image, method), for the chosen images.

    Columns: role, condition, image, method, map, pixels of the input, prediction and its name, SaCo, and the segmentation
    (as in shards; None without one).
    """
    roles = choose_images(
        scores, coverage=spec["statistics"]["coverage"], explained=spec["cells"][0]["condition"]["explained"]
    )
    wanted = sorted(roles)

    def read(stage: str, schema: pa.Schema, family: bool) -> pd.DataFrame:
        paths = list(cell_files(spec, results, stage, family=family))
        frame = read_dataset(paths, schema).to_pandas()
        return frame[frame.image_id.isin(wanted)]

    maps = read("attribute", MAPS, True)
    images = read("attack", IMAGES, False)
    predictions = read("predictions", PREDICTIONS, False)
    saco = scores[scores.metric.str.startswith("saco")].drop_duplicates([*CONDITION, "image_id", "method"])
    keys = ["dataset", "model", "attack", "image_id"]
    columns = [*CONDITION, "image_id", "method", "target", "rows", "columns", "map"]
    frame = maps[maps.method.isin(spec["explainers"])][columns]
    frame = frame.merge(images[[*keys, "label", "channels", "height", "width", "pixels"]], on=keys, how="left")
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
    frame = frame.merge(_truth(spec, results, wanted), on=["dataset", "image_id"], how="left")
    frame[TRUTH.name] = frame[TRUTH.name].astype(object).where(frame[TRUTH.name].notna(), None)
    frame.insert(0, "role", frame.image_id.map(roles))
    return frame.sort_values([*CONDITION, "image_id", "method"], ignore_index=True)

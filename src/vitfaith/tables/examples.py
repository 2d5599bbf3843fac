"""The sampled images of an experiment: every method's map in every condition, and the pictures."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from vitfaith.artifacts.schemas import MAPS, PREDICTIONS
from vitfaith.tables.clusters import Images
from vitfaith.tables.collect import CONDITION, INPUT
from vitfaith.tables.rows import ChosenRows, ClassNames, class_names
from vitfaith.tables.sample import Sample

SIDE = 128
"""Longest side of a stored picture, pixels. Smaller images are stored as they are."""

PLACE = ["dataset", "model", "attack"]
MAP = ["target", "rows", "columns", "map"]
PICTURES = [*PLACE, "image_id", "label", "label_name", "height", "width", "picture"]


def examples_table(spec: Mapping[str, Any], results: str, sample: Sample, images: Mapping[str, Images]) -> pd.DataFrame:
    """One row per (condition, sampled image, method): map, explained class, predicted class and its probability, names of both.

    ``draw`` is the image's place in the draw: of each dataset, the images with draw < n are a random sample too.

    Args:
        sample: dataset → its sampled images.
        images: dataset → its images.
    """
    rows = ChosenRows(spec, results, sample, images)
    maps = rows.read("attribute", MAPS, ["image_id", "method", *MAP], family=True)
    told = rows.read("predictions", PREDICTIONS, ["image_id", "prediction", "probabilities"], family=False)
    told["prediction_probability"] = [p[i] for p, i in zip(told.probabilities, told.prediction, strict=True)]
    told = told[[*INPUT, "image_id", "prediction", "prediction_probability"]]
    frame = maps.loc[maps.method.isin(spec["explainers"]), [*CONDITION, "image_id", "method", *MAP]]
    frame = frame.merge(told, on=[*INPUT, "image_id"], how="left")
    class_name = class_names(spec, results)
    for column in ("target", "prediction"):
        frame[f"{column}_name"] = class_name.of(frame, column)
    draw = {(dataset, name): i for dataset, names in sample.items() for i, name in enumerate(names)}
    frame["draw"] = [draw[d, i] for d, i in zip(frame.dataset, frame.image_id, strict=True)]
    return frame.sort_values([*CONDITION, "image_id", "method"], ignore_index=True)


def pictures(
    spec: Mapping[str, Any], results: str, sample: Sample, images: Mapping[str, Images]
) -> Iterator[pd.DataFrame]:
    """One row per (dataset, model, attack, sampled image), one file at a time.

    ``picture`` is the image as PNG, or as JPEG of at most :data:`SIDE` pixels where the image is larger; ``height`` and
    ``width`` are the sides of the image itself.

    Args:
        sample, images: see :func:`examples_table`.
    """
    names = class_names(spec, results)
    columns = ["image_id", "label", "channels", "height", "width", "pixels"]
    for table in ChosenRows(spec, results, sample, images).pictures(columns):
        yield _encoded(table, names)


def _encoded(table: pa.Table, names: ClassNames) -> pd.DataFrame:
    shapes = zip(*(table.column(name).to_pylist() for name in ("channels", "height", "width")), strict=True)
    encoded = [
        encoded_picture(np.frombuffer(value.as_buffer(), np.uint8).reshape(shape))
        for value, shape in zip(table.column("pixels"), shapes, strict=True)
    ]
    frame = table.drop_columns(["pixels", "channels"]).to_pandas().assign(picture=encoded)
    return frame.assign(label_name=names.of(frame, "label"))[PICTURES].astype(dict.fromkeys(PLACE, str))


def encoded_picture(pixels: NDArray[np.uint8]) -> bytes:
    """An image (C, H, W), C = 1 or 3, as PNG; as JPEG of at most :data:`SIDE` pixels where a side is longer."""
    from PIL import Image

    picture = Image.fromarray(pixels[0] if len(pixels) == 1 else np.moveaxis(pixels, 0, -1).copy())
    buffer = io.BytesIO()
    if max(picture.size) <= SIDE:
        picture.save(buffer, "PNG", optimize=True)
    else:
        picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
        picture.save(buffer, "JPEG", quality=80, optimize=True)
    return buffer.getvalue()

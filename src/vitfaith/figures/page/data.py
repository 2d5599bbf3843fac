"""What the page shows, as plain values: leaderboards, curves, and the gallery's pictures as data URLs."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vitfaith.explained import COLUMN, in_words
from vitfaith.figures.drawing.data import CONDITION, INPUT
from vitfaith.figures.drawing.names import order_conditions
from vitfaith.figures.drawing.pictures import decode_map, decode_pixels
from vitfaith.figures.drawing.style import BASELINE_COLOUR, Style, is_baseline
from vitfaith.order import natural
from vitfaith.statistics import SMALL

if TYPE_CHECKING:
    from pandas import DataFrame, Series

DIGITS = 5
"""Significant digits in the page; the Parquet files have all."""


def rounded(value: float) -> float | None:
    """A number for JSON, which knows no NaN."""
    return float(f"{value:.{DIGITS}g}") if np.isfinite(value) else None


def page_data(
    summary: DataFrame, curves: DataFrame, gallery: DataFrame, spec: Mapping[str, Any], style: Style
) -> dict[str, Any]:
    """Everything that the page shows.

    Args:
        summary, curves, gallery: tables of an experiment.
        spec: ``experiment``, ``seed``, ``statistics`` and ``directions`` (metric → higher or lower).
    """
    methods = style.order(summary["method"].astype(str))
    looks = style.looks(methods)
    board: list[dict[str, Any]] = [
        {c: str(row[c]) for c in (*CONDITION, "method", "reference", "metric", "variant")}
        | {c: int(row[c]) for c in ("n", "flagged", "n_own", "asked")}
        | {c: rounded(float(row[c])) for c in ("mean", "low", "high", "mean_own")}
        | {"compared": bool(row["compared"])}
        for row in summary.to_dict("records")
    ]
    pictures = Pictures()
    shown = gallery_data(gallery, style, pictures)
    names = {*methods, *(row["metric"] for row in board), *(row[c] for row in board for c in INPUT)}
    return {
        "experiment": spec["experiment"],
        "seed": spec["seed"],
        "confidence": spec["statistics"]["confidence"],
        "resamples": spec["statistics"]["resamples"],
        "coverage": spec["statistics"]["coverage"],
        "small": SMALL,
        "variants": sorted({*summary["variant"].astype(str), *curves["variant"].astype(str)}, key=natural),
        "directions": dict(spec["directions"]),
        "order": {c: order_conditions(summary[c].astype(str)) for c in CONDITION},
        "methods": methods,
        "colours": {m: BASELINE_COLOUR if is_baseline(m) else looks[m].colour for m in methods},
        "labels": {name: style.label(name) for name in sorted(names)}
        | {value: in_words(value) for value in summary[COLUMN].astype(str).unique()},
        "board": board,
        "curves": curve_data(curves),
        "gallery": shown,
        "pictures": pictures.urls,
    }


class Pictures:
    """Pictures of a page, each kept once however often it is shown.

    Attributes:
        urls: data URL of every picture, in the order in which they came.
    """

    def __init__(self) -> None:
        self.urls: list[str] = []
        self._places: dict[tuple[tuple[int, ...], bytes], int] = {}

    def place(self, pixels: NDArray[np.uint8]) -> int:
        """Where the picture (H, W, 3) is in ``urls``."""
        key = pixels.shape, pixels.tobytes()
        if key not in self._places:
            self._places[key] = len(self.urls)
            self.urls.append(png(pixels))
        return self._places[key]


def curve_data(curves: DataFrame) -> list[dict[str, Any]]:
    """One entry for each line: probability of the target class against the share of the image that was replaced.

    Methods that are not compared have none.
    """
    if curves.empty:
        return []
    keys = [*CONDITION, "method", "curve", "variant"]
    chosen = curves[curves["quantity"] == "probability"]
    return [
        dict(zip(keys, map(str, key), strict=True))
        | {"x": [rounded(v) for v in rows["fraction"]], "n": int(rows["n"].max())}
        | {c: [rounded(v) for v in rows[c]] for c in ("mean", "low", "high")}
        for key, part in chosen.groupby(keys, observed=True, sort=True)
        for rows in [part.sort_values("step")]
        if rows["compared"].all()
    ]


def gallery_data(gallery: DataFrame, style: Style, pictures: Pictures) -> list[dict[str, Any]]:
    """One entry per (condition, image): the place of the picture, and of each method's map with its SaCo."""
    found: list[dict[str, Any]] = []
    for key, rows in gallery.groupby([*CONDITION, "image_id"], observed=True, sort=True):
        first = rows.iloc[0]
        picture, told = image_of(first), first.get("prediction_name")
        found.append(
            dict(zip((*CONDITION, "image_id"), map(str, key), strict=True))
            | {
                "role": str(first["role"]),
                "target": int(first["target"]),
                "prediction": int(first["prediction"]),
                "name": told if isinstance(told, str) else f"class {int(first['prediction'])}",
                "probability": rounded(float(first["prediction_probability"])),
                "picture": pictures.place(picture),
                "maps": {
                    str(row["method"]): {
                        "picture": pictures.place(map_of(row, style)),
                        "saco": rounded(float(row["saco"])),
                    }
                    for _, row in rows.iterrows()
                },
            }
        )
    return found


def image_of(row: Series) -> NDArray[np.uint8]:
    """(H, W, 3) pixels of a row of the gallery."""
    pixels = np.asarray(np.round(255 * decode_pixels(row)), dtype=np.uint8)
    return np.repeat(pixels[..., None], 3, axis=2) if pixels.ndim == 2 else pixels


def map_of(row: Series, style: Style) -> NDArray[np.uint8]:
    """(rows, columns, 3) a map in the style's colours, from its minimum to its maximum; grey where there is none."""
    from matplotlib import colormaps

    heat = decode_map(row)
    if heat is None:
        return np.full((int(row["rows"]), int(row["columns"]), 3), 204, dtype=np.uint8)
    return np.asarray(np.round(255 * colormaps[style.sequential](heat)[..., :3]), dtype=np.uint8)


def png(pixels: NDArray[np.uint8]) -> str:
    """Pixels (H, W, 3) as a data URL."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()

"""Captions: what a figure shows, from how many images, and what was left out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from vitfaith.figures.names import order_conditions
from vitfaith.figures.registry import FIGURES
from vitfaith.registry import Parameters

if TYPE_CHECKING:
    from pandas import DataFrame

    from vitfaith.figures.data import FigureData


def flagged_text(rows: DataFrame) -> str:
    """Sentence on the values that are not in the means: constant maps, NaN, undefined scores.

    ``rows`` has n and flagged, as in ``summary``.
    """
    flagged = rows["flagged"].astype(int)
    total = int(flagged.sum())
    if total == 0:
        return "No value is missing."
    asked = total + int(rows["n"].sum())
    worst = rows.iloc[int(flagged.to_numpy().argmax())]
    where = (
        f", most of them ({int(worst['flagged'])} in one mean) for ``{worst['method']}``" if "method" in rows else ""
    )
    return (
        f"{total} of {asked} values ({100 * total / asked:.1f} %) are flagged (constant map, NaN or undefined score)"
        f" and in no mean{where}."
    )


def count_sentence(rows: DataFrame) -> str:
    """Sentence on the number of images and the level of the intervals, from the columns n and confidence."""
    low, high = int(rows["n"].min()), int(rows["n"].max())
    images = f"n = {low} images" if low == high else f"n = {low} to {high} images"
    levels = sorted({float(c) for c in rows["confidence"].dropna()}) if "confidence" in rows else []
    interval = f", {' and '.join(f'{100 * level:g} %' for level in levels)} confidence intervals" if levels else ""
    return f"{images} a mean{interval}."


def conditions_text(rows: DataFrame) -> str:
    """Sentence on data sets, models, attacks and smoothings that are shown."""
    words = {"dataset": "Data", "model": "models", "attack": "attacks", "smoothing": "smoothings"}
    parts = [
        f"{word} " + ", ".join(f"``{v}``" for v in order_conditions(rows[column].astype(str)))
        for column, word in words.items()
        if column in rows
    ]
    return "; ".join(parts) + "." if parts else ""


def fills_text(fills: Mapping[str, str]) -> str:
    """Sentence on what stands in for removed pixels, from metric → fill."""
    users: dict[str, list[str]] = {}
    for metric, fill in fills.items():
        users.setdefault(fill, []).append(f"``{metric}``")
    if len(users) < 2:
        return f"Removed pixels become ``{next(iter(users))}``." if users else ""
    return "Removed pixels become " + ", ".join(f"``{fill}`` ({', '.join(m)})" for fill, m in users.items()) + "."


def caption(
    name: str,
    data: FigureData,
    parameters: Parameters,
    seed: int | None = None,
    fills: Mapping[str, str] | None = None,
) -> str:
    """Caption of a figure in reStructuredText: how to read it, the data, the fill, n, the interval, flagged values, the seed.

    Args:
        fills: metric → what stands in for removed pixels, of the metrics that the figure shows.

    Raises:
        ConfigError: no figure has this name.
        ArtifactError: a table is missing.
    """
    entry = FIGURES[name]
    rows: DataFrame = entry.traits["rows"](data, parameters)
    sentences = [
        entry.traits["caption"].format(**parameters.model_dump()),
        conditions_text(rows),
        fills_text(fills or {}),
    ]
    if "n" in rows:
        sentences.append(count_sentence(rows))
    if {"n", "flagged"} <= set(rows.columns):
        sentences.append(flagged_text(rows))
    if seed is not None:
        sentences.append(f"Seed {seed}.")
    return f"**{entry.traits['title']}.** " + " ".join(s for s in sentences if s)

"""Captions: what a figure shows, from how many images, and what was left out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from vitfaith.explained import COLUMN, PREDICTION, in_words
from vitfaith.figures.drawing.names import order_conditions
from vitfaith.figures.drawing.variants import variant_text
from vitfaith.order import natural
from vitfaith.registry import Item

if TYPE_CHECKING:
    from pandas import DataFrame, Series

    from vitfaith.figures.drawing.data import FigureData


def flagged_text(rows: DataFrame) -> str:
    """Sentence on the values that are not in the means: constant maps, NaN, undefined scores.

    ``rows`` has n and flagged, as in ``summary``.
    """
    flagged = rows["flagged"].astype(int)
    total = int(flagged.sum())
    if total == 0:
        return "No value is missing."
    asked = total + int(rows["n_own" if "n_own" in rows else "n"].sum())
    worst = rows.iloc[int(flagged.to_numpy().argmax())]
    where = (
        f", most of them ({int(worst['flagged'])} in one mean) for ``{worst['method']}``" if "method" in rows else ""
    )
    compared = "reference" in rows and (rows["reference"].astype(str) != "").any()
    moved = compared and COLUMN in rows and (rows[COLUMN].astype(str) == PREDICTION).any()
    reasons = "constant map, NaN, undefined score, or" if moved else "constant map, NaN or undefined score"
    reasons += " a reference map that explains another class" if moved else ""
    return f"{total} of {asked} values ({100 * total / asked:.1f} %) are flagged ({reasons}) and in no mean{where}."


def count_sentence(rows: DataFrame) -> str:
    """Sentence on the number of images and the level of the intervals, from the columns n, clusters and confidence."""
    from vitfaith.statistics.small import small_sample_note  # imports pandas, which planning goes without

    counted = rows["n"][rows["n"] > 0] if (rows["n"] > 0).any() else rows["n"]
    images = f"n = {_range(counted)} images"
    if "clusters" in rows and (independent := rows["clusters"].loc[counted.index]).lt(counted).any():
        images += f" in {_range(independent)} independent clusters"
    levels = sorted({float(c) for c in rows["confidence"].dropna()}) if "confidence" in rows else []
    interval = f", {' and '.join(f'{100 * level:g} %' for level in levels)} confidence intervals" if levels else ""
    same = ", the same images for all methods of a panel" if "compared" in rows else ""
    return " ".join(filter(None, [f"{images} per mean{same}{interval}.", small_sample_note(int(counted.min()))]))


def _range(counts: Series[int]) -> str:
    low, high = int(counts.min()), int(counts.max())
    return str(low) if low == high else f"{low} to {high}"


def left_out_text(rows: DataFrame) -> str:
    """Sentence on the methods that are not compared because they have too few of the images; empty where all are."""
    found: dict[str, list[str]] = {}
    if "compared" in rows:
        for _, row in rows[~rows["compared"].astype(bool)].iterrows():
            count = f"{int(row['n_own'])} of {int(row['asked'])}" if "n_own" in row else ""
            found.setdefault(str(row["method"]), []).append(count)
    elif "left_out" in rows:
        found = {name: [] for text in rows["left_out"].unique() for name in str(text).split(", ") if name}
    if not found:
        return ""
    several = [f"``{m}``" + (f" ({_counts(counts)})" if any(counts) else "") for m, counts in found.items()]
    return f"Not compared, for lack of images (``statistics.coverage``): {', '.join(several)}."


def _counts(counts: list[str]) -> str:
    distinct = list(dict.fromkeys(counts))
    return f"{distinct[0]} images" if len(distinct) == 1 else f"in {len(counts)} places, e.g. {distinct[0]} images"


def conditions_text(rows: DataFrame) -> str:
    """Sentences on data sets, models, attacks, smoothings and explained classes that are shown."""
    words = {"dataset": "Data", "model": "models", "attack": "attacks", "smoothing": "smoothings"}
    parts = [
        f"{word} " + ", ".join(f"``{v}``" for v in order_conditions(rows[column].astype(str)))
        for column, word in words.items()
        if column in rows
    ]
    told = ["; ".join(parts) + "."] if parts else []
    if COLUMN in rows:
        values = order_conditions(rows[COLUMN].astype(str))
        told.append(f"Maps explain {'; or '.join(map(in_words, values))}.")
    return " ".join(told)


def variants_text(rows: DataFrame) -> str:
    """Sentence on the variants of metrics that are shown, for example "Shown: ``k=10`` of ``saco``."; empty without variants.

    ``rows`` has variant and mostly metric; or the text itself, in variants.
    """
    if "variants" in rows:
        shown = [text for text in rows["variants"].unique() if text]
    elif "variant" in rows:
        names = rows[["variant"]].assign(metric=rows.get("metric", "")).astype(str)
        pairs = sorted(set(zip(names["metric"], names["variant"], strict=True)), key=lambda p: (p[0], natural(p[1])))
        shown = [variant_text(variant, metric) for metric, variant in pairs if variant]
    else:
        return ""
    return f"Shown: {', '.join(dict.fromkeys(shown))}." if shown else ""


def fills_text(fills: Mapping[str, str]) -> str:
    """Sentence on the replacement of removed pixels, from metric → fill."""
    users: dict[str, list[str]] = {}
    for metric, fill in fills.items():
        users.setdefault(fill, []).append(f"``{metric}``")
    if len(users) < 2:
        return f"Removed pixels become ``{next(iter(users))}``." if users else ""
    return "Removed pixels become " + ", ".join(f"``{fill}`` ({', '.join(m)})" for fill, m in users.items()) + "."


def caption(
    figure: Item,
    data: FigureData,
    seed: int | None = None,
    fills: Mapping[str, str] | None = None,
) -> str:
    """Caption of a figure in reStructuredText: how to read it, the data, the fill, n, the interval, flagged values, the seed.

    Args:
        fills: metric → replacement of removed pixels, for the metrics in the figure.

    Raises:
        ArtifactError: a table is missing.
    """
    rows: DataFrame = figure.traits["rows"](data, figure.parameters)
    sentences = [
        figure.traits["caption"].format(**figure.parameters.model_dump()),
        variants_text(rows),
        conditions_text(rows),
        fills_text(fills or {}),
    ]
    if "n" in rows:
        sentences.append(count_sentence(rows))
    if {"n", "flagged"} <= set(rows.columns):
        sentences.append(flagged_text(rows))
    sentences.append(left_out_text(rows))
    if seed is not None:
        sentences.append(f"Seed {seed}.")
    return f"**{figure.traits['title']}.** " + " ".join(s for s in sentences if s)

"""Everything that the page shows, as plain values: leaderboards, paired differences and curves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from vitfaith.explained import COLUMN, in_words
from vitfaith.figures.drawing.data import CONDITION, INPUT
from vitfaith.figures.drawing.names import order_conditions
from vitfaith.figures.drawing.style import BASELINE_COLOUR, Style, is_baseline
from vitfaith.figures.page.table import packed
from vitfaith.order import natural
from vitfaith.statistics import SMALL, against

if TYPE_CHECKING:
    from pandas import DataFrame

UNIT = ("metric", "variant", "reference")
DIFFERENCE = ("difference", "low", "high", "p_adjusted")
SHAPES = {"o": "circle", "s": "square", "^": "triangle-up", "D": "diamond", "v": "triangle-down", "P": "cross"}
"""Markers of the figures → shapes of the chart library."""


def page_data(
    summary: DataFrame,
    statistics: DataFrame,
    conditions: DataFrame,
    explained: DataFrame,
    curves: DataFrame,
    spec: Mapping[str, Any],
    style: Style,
) -> dict[str, Any]:
    """Everything but the sampled images.

    Args:
        summary, statistics, conditions, explained, curves: tables of an experiment.
        spec: ``experiment``, ``seed``, ``statistics`` and ``directions`` (metric → higher or lower).
    """
    methods = style.order(summary["method"].astype(str))
    baseline = next((m for m in methods if m == "random"), next(filter(is_baseline, methods), None))
    names = {*methods, *summary["metric"].astype(str)}
    names |= {value for column in INPUT for value in summary[column].astype(str)}
    return {
        "experiment": spec["experiment"],
        "seed": spec["seed"],
        "confidence": spec["statistics"]["confidence"],
        "resamples": spec["statistics"]["resamples"],
        "coverage": spec["statistics"]["coverage"],
        "small": SMALL,
        "baseline": baseline,
        "variants": sorted({*summary["variant"].astype(str), *curves["variant"].astype(str)}, key=natural),
        "directions": dict(spec["directions"]),
        "order": {c: order_conditions(summary[c].astype(str)) for c in CONDITION},
        "methods": methods,
        "looks": looks_of(methods, style),
        "labels": {name: style.label(name) for name in sorted(names)}
        | {value: in_words(value) for value in sorted(summary[COLUMN].astype(str).unique())},
        "board": board(summary, statistics, baseline),
        "pairs": pairs(conditions, explained),
        "curves": curve_rows(curves),
    }


def looks_of(methods: list[str], style: Style) -> dict[str, dict[str, Any]]:
    """Method → colour, dashes and shape; three signs, so that no reader depends on colour."""
    looks = style.looks(methods)
    found = {}
    for name in methods:
        look = looks[name]
        dash = [] if isinstance(look.line, str) else [round(3 * part, 1) for part in look.line[1]]
        colour = BASELINE_COLOUR if is_baseline(name) else look.colour
        found[name] = {"colour": colour, "dash": dash, "shape": SHAPES.get(look.marker, "stroke")}
    return found


def board(summary: DataFrame, statistics: DataFrame, baseline: str | None) -> dict[str, Any]:
    """The rows of ``summary`` with the p-value of the difference from ``baseline``, by Holm over the tests against it."""
    keys = [*CONDITION, *UNIT, "method"]
    frame = summary.astype(dict.fromkeys(keys, str))
    tests = against(statistics.astype(dict.fromkeys(keys, str)), str(baseline), keys[:-1])
    frame = frame.merge(tests[[*keys, "p_adjusted"]], on=keys, how="left")
    numbers = ["n", "flagged", "n_own", "asked", "compared", "mean", "low", "high", "mean_own", "p_adjusted"]
    return packed(frame, keys, numbers)


def pairs(conditions: DataFrame, explained: DataFrame) -> dict[str, Any]:
    """Paired differences between two conditions that differ in one column."""
    import pandas as pd

    texts = [*CONDITION, "axis", "other", *UNIT, "method"]
    numbers = ["n", *DIFFERENCE]
    classes = explained.rename(columns={"opponent": "other"}).assign(axis=COLUMN, reference="")
    parts = [part[[*texts, *numbers]] for part in (conditions, classes) if len(part)]
    frame = pd.concat(parts, ignore_index=True) if parts else conditions.reindex(columns=[*texts, *numbers])
    return packed(frame, texts, numbers)


def curve_rows(curves: DataFrame) -> dict[str, Any]:
    """Probability of the explained class against the share of the image that was replaced; of methods that are compared."""
    chosen = curves[(curves["quantity"] == "probability") & curves["compared"].astype(bool)]
    texts = [*CONDITION, "method", "curve", "variant"]
    chosen = chosen.sort_values([*texts, "step"], ignore_index=True)
    return packed(chosen, texts, ["step", "fraction", "mean", "low", "high", "n"])

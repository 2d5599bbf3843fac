"""A score or a stability measure against the radius of attacks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vitfaith.figures.drawing.data import CONDITION, PANEL, FigureData, tidy
from vitfaith.figures.drawing.draw import (
    ZERO_LINE,
    against_text,
    blank,
    canvas,
    count_text,
    facets,
    legend_above,
    metric_text,
    shape_of,
    wrap_titles,
)
from vitfaith.figures.drawing.one_metric import OneMetric, chosen_rows
from vitfaith.figures.drawing.radius import ByRadius, draw_series, label_radius, orders, with_radius
from vitfaith.figures.drawing.style import Style
from vitfaith.figures.registry import figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame


class MetricByRadius(ByRadius, OneMetric):
    """Which number, over which attacks."""


def rows(data: FigureData, parameters: MetricByRadius) -> DataFrame:
    """One row per (condition, method, kind of attack) with the columns kind and eps."""
    frame = chosen_rows(data, parameters)
    return tidy(with_radius(frame, data, parameters), "summary", [*CONDITION, "method", "kind"])


@figure(
    "metric_by_radius",
    needs=("summary", "attacks"),
    rows=rows,
    title="Explanations against the radius of attacks",
    caption=(
        "Mean of ``{metric}`` over images against the radius of the attack, with confidence intervals: one panel per "
        "method, one colour and marker per smoothing, one line per kind of attack. Radius 0 is the clean image. "
        "Where the measure compares with a reference map, that is the clean image's behind the same smoothing "
        "(reference ``{reference}``)."
    ),
    category="robustness",
    parameters=MetricByRadius,
    citation="Hu et al. 2024 (arXiv 2311.17983)",
)
def metric_by_radius(data: FigureData, parameters: MetricByRadius, style: Style) -> Figure:
    """A metric over the radius of attacks, for each method, smoothing and kind of attack."""
    table = rows(data, parameters)
    smoothings, kinds = orders(table)
    groups = facets(table, PANEL, style)
    keys = [(method, title, part) for method in style.order(table["method"]) for title, part in groups]
    per_row = 1 if style.columns == "one" else 3
    shape = shape_of(len(keys), per_row)
    picture, axes = canvas(
        style, *shape, panel_mm=44, extra_mm=12 + 3 * len(smoothings) * len(kinds) / 3, sharex=True, sharey=True
    )
    for panel, (method, title, whole) in zip(axes.flat, keys, strict=False):
        part = whole[whole["method"] == method]
        draw_series(panel, part, smoothings, kinds, style)
        if table["low"].min() < 0 < table["high"].max():
            panel.axhline(0, **ZERO_LINE)
        name = " · ".join([style.label(method), *([title] if len(groups) > 1 else [])])
        panel.set_title(f"{name} ({count_text(part['n'])})" if len(part) else name)
    for panel in list(axes.flat)[max(0, len(keys) - shape[1]) : len(keys)]:
        panel.tick_params(axis="x", labelbottom=True)
    text = metric_text(style, parameters.metric, str(table["variant"].iloc[0])) + against_text(parameters.reference)
    label_radius(picture, parameters, style, f"mean {text}")
    legend_above(picture, axes.flat)
    blank(list(axes.flat)[len(keys) :])
    wrap_titles(picture)
    return picture

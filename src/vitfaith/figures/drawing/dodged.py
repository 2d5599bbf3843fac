"""The layout of figures that compare smoothings side by side: methods down, one panel per model and attack."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from vitfaith.figures.drawing.data import overall_order
from vitfaith.figures.drawing.draw import blank, canvas, count_text, facets, legend_above, points, shape_of, wrap_titles
from vitfaith.figures.drawing.names import order_conditions
from vitfaith.figures.drawing.style import BASELINE_COLOUR, MARKERS, Look, Style, is_baseline
from vitfaith.lazy import np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame


def dodged_points(
    table: DataFrame, style: Style, text: str, decorate: Callable[[Axes, DataFrame], None], *, descending: bool = True
) -> Figure:
    """Means with intervals, one panel per (dataset, model, attack, explained class), one colour per smoothing.

    Args:
        table: columns of the condition, method, n, mean, low, high.
        text: label of the horizontal axis.
        decorate: draws reference lines in a panel, given its rows.
        descending: whether the method with the largest overall mean is on top.
    """
    panels = facets(table, ("dataset", "model", "attack", "explained"), style)
    smoothings = order_conditions(table["smoothing"])
    colours = style.colours(smoothings)
    looks = {
        s: Look(colour=colours[s], marker=MARKERS[i % len(MARKERS)], line="solid") for i, s in enumerate(smoothings)
    }
    methods = overall_order(table, style.order(table["method"]), descending=descending)
    place = {method: i for i, method in enumerate(methods)}
    per_row = {"one": 1, "two": min(3, table["attack"].nunique()) if table["attack"].nunique() > 1 else 2}[
        style.columns
    ]
    shape = shape_of(len(panels), per_row)
    step = max(0.62, 0.30 * len(smoothings)) * style.font_size
    figure, axes = canvas(style, *shape, panel_mm=9 + len(methods) * step, extra_mm=12, sharex=True, sharey=True)
    for panel, (title, part) in zip(axes.flat, panels, strict=False):
        for i, smoothing in enumerate(smoothings):
            rows = part[part["smoothing"] == smoothing]
            shift = 0.0 if len(smoothings) == 1 else (i / (len(smoothings) - 1) - 0.5) * 0.5
            at = rows["method"].map(place).to_numpy(float) + shift
            points(panel, rows, at, looks[smoothing], label=style.label(smoothing))
        decorate(panel, part)
        panel.set_title(f"{title} ({count_text(part['n'])})")
        panel.set_yticks(range(len(methods)), [style.label(m) for m in methods])
        panel.set_ylim(len(methods) - 0.5, -0.5)
        panel.grid(visible=False, axis="y")
        panel.tick_params(axis="y", length=0)
        for edge in np.arange(0.5, len(methods) - 1):
            panel.axhline(edge, color="#EFEFEF", linewidth=0.5, zorder=0)
    for panel in axes[:, 0]:
        for tick, method in zip(panel.get_yticklabels(), methods, strict=True):
            if is_baseline(method):
                tick.set_color(BASELINE_COLOUR)
                tick.set_fontstyle("italic")
    figure.supxlabel(text, fontsize=style.font_size)
    legend_above(figure, axes.flat)
    blank(list(axes.flat)[len(panels) :])
    if len(panels) < axes.size:
        for panel in list(axes.flat)[len(panels) - shape[1] : len(panels)]:
            panel.tick_params(axis="x", labelbottom=True)
    wrap_titles(figure)
    return figure

"""Methods ranked by one metric in one condition."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vitfaith.figures.drawing.data import PANEL, FigureData, MethodsOfOneCondition
from vitfaith.figures.drawing.directions import ARROWS, Directions, direction_of
from vitfaith.figures.drawing.draw import (
    ZERO_LINE,
    blank,
    canvas,
    count_text,
    facets,
    metric_text,
    points,
    shape_of,
    wrap_titles,
)
from vitfaith.figures.drawing.names import decimal
from vitfaith.figures.drawing.one_metric import metric_rows
from vitfaith.figures.drawing.style import BASELINE_COLOUR, Style, is_baseline
from vitfaith.figures.drawing.variants import OneVariant
from vitfaith.figures.registry import figure
from vitfaith.lazy import np

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame


class Leaderboard(OneVariant, MethodsOfOneCondition):
    """Which metric and condition."""

    directions: Directions


def rows(data: FigureData, parameters: Leaderboard) -> DataFrame:
    """One row per (dataset, model, method), the best first."""
    frame = metric_rows(data, parameters.metric, parameters.variant, wanted=parameters.wanted())
    smallest_first = direction_of(parameters.metric, parameters.directions) == "lower"
    return frame.sort_values(
        [*PANEL, "compared", "mean"],
        ascending=[True, True, True, False, smallest_first],
        kind="stable",
        na_position="last",
        ignore_index=True,
    )


@figure(
    "saco_leaderboard",
    needs=("summary",),
    rows=rows,
    title="Faithfulness of the methods",
    caption=(
        "Methods ranked by the mean of ``{metric}`` over images, for attack ``{attack}`` and smoothing "
        "``{smoothing}``, one panel per model. Bars are confidence intervals of the mean. The grey band is the interval "
        "of random maps: a method whose bar overlaps it is not shown to differ from chance. Neighbours whose bars "
        "overlap may be tied. Methods below a line have too few usable images to be compared; the number beside "
        "each counts its usable images."
    ),
    category="faithfulness",
    parameters=Leaderboard,
    citation="Wu et al. 2024 (arXiv 2404.01415)",
)
def saco_leaderboard(data: FigureData, parameters: Leaderboard, style: Style) -> Figure:
    """Methods ranked by their mean with confidence intervals, one panel per model."""
    table = rows(data, parameters)
    panels = facets(table, PANEL, style)
    looks = style.looks(table["method"])
    tallest = max(len(part) for _, part in panels)
    shape = shape_of(len(panels), 2 if style.columns == "two" else 1)
    height = 14 + tallest * 0.62 * style.font_size
    picture, axes = canvas(style, *shape, panel_mm=height, sharex=True)
    text = metric_text(style, parameters.metric, str(table["variant"].iloc[0]))
    arrow = ARROWS[direction_of(parameters.metric, parameters.directions)]
    for panel, (title, part) in zip(axes.flat, panels, strict=False):
        for position, (_, row) in enumerate(part.iterrows()):
            points(panel, part[part["method"] == row["method"]], np.array([position]), looks[row["method"]])
            if not row["compared"] and (position == 0 or part["compared"].iloc[position - 1]):
                panel.axhline(position - 0.5, color="black", linewidth=0.8)
            if is_baseline(row["method"]) and row["compared"]:
                panel.axvspan(row["low"], row["high"], color=BASELINE_COLOUR, alpha=0.18, linewidth=0, zorder=0)
            value = decimal(row["mean"], 3) if np.isfinite(row["mean"]) else "no value"
            if not row["compared"]:
                value = f"{row['n_own']} of {row['asked']}"
            panel.annotate(
                value,
                (1.01, position),
                xycoords=("axes fraction", "data"),
                va="center",
                ha="left",
                fontsize=style.small,
                color="#444444",
            )
        panel.axvline(0, **ZERO_LINE)
        panel.set_yticks(range(len(part)), [style.label(m) for m in part["method"]])
        for tick, name in zip(panel.get_yticklabels(), part["method"], strict=True):
            tick.set_color(BASELINE_COLOUR if is_baseline(name) else "black")
            tick.set_fontstyle("italic" if is_baseline(name) else "normal")
        panel.set_ylim(tallest - 0.4, -0.6)
        panel.set_title(f"{title} ({count_text(part['n'])})")
        panel.grid(visible=style.grid, axis="x")
        panel.grid(visible=False, axis="y")
        panel.tick_params(axis="y", length=0)
        panel.tick_params(axis="x", labelbottom=True)
    for panel in axes[-1]:
        panel.set_xlabel(f"{text}{arrow}, mean over images")
    blank(list(axes.flat)[len(panels) :])
    wrap_titles(picture)
    return picture

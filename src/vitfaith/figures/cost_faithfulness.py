"""Cost of faithfulness."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from vitfaith.errors import ArtifactError
from vitfaith.figures.drawing.data import PANEL, FigureData, tidy
from vitfaith.figures.drawing.directions import ARROWS, direction_of
from vitfaith.figures.drawing.draw import (
    ZERO_LINE,
    blank,
    canvas,
    count_text,
    facets,
    legend_above,
    legend_mm,
    metric_text,
    points,
    shape_of,
    wrap_titles,
)
from vitfaith.figures.drawing.style import Style
from vitfaith.figures.registry import figure
from vitfaith.figures.saco_leaderboard import Leaderboard
from vitfaith.figures.saco_leaderboard import rows as leaderboard_rows
from vitfaith.lazy import np

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame


class Cost(Leaderboard):
    """Which metric, and what a backward pass counts."""

    backward: float = Field(2.0, ge=0, description="forward passes that one backward pass counts as")


def rows(data: FigureData, parameters: Cost) -> DataFrame:
    """The rows of the leaderboard with ``cost``: passes an image of the method's family, in forward passes."""
    table = leaderboard_rows(data, parameters)
    costs = data.table("costs", ("model", "method", "sharing", "forwards", "backwards"))
    costs = tidy(costs, "costs", ["model", "method"]).assign(
        cost=lambda frame: frame["forwards"] + parameters.backward * frame["backwards"]
    )
    joined = table.merge(costs[["model", "method", "sharing", "cost"]], on=["model", "method"], how="left")
    unknown = joined[joined["cost"].isna()]
    if len(unknown):
        row = unknown.iloc[0]
        raise ArtifactError(
            f"table 'costs' has no row for method '{row['method']}' on model '{row['model']}'; run the tables stage again"
        )
    return joined


@figure(
    "cost_faithfulness",
    needs=("summary", "costs"),
    rows=rows,
    title="Cost and faithfulness",
    caption=(
        "Mean of ``{metric}`` over images against the passes through the model that explaining one image takes, counted "
        "while the maps were made; a backward pass counts as {backward} forward passes. Methods of a family share their "
        "passes and are drawn at the cost of the whole family, so a method alone may be cheaper. Points in the upper "
        "left are the better bargains. Bars are confidence intervals of the mean."
    ),
    category="cost",
    parameters=Cost,
)
def cost_faithfulness(data: FigureData, parameters: Cost, style: Style) -> Figure:
    """Mean of a metric with intervals against counted passes per image, by method."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    table = rows(data, parameters)
    panels = facets(table, PANEL, style)
    looks, methods = style.looks(table["method"]), style.order(table["method"])
    shape = shape_of(len(panels), 2 if style.columns == "two" else 1)
    picture, axes = canvas(
        style, *shape, panel_mm=60, extra_mm=legend_mm(style, len(methods)), sharex=True, sharey=True
    )
    for panel, (title, part) in zip(axes.flat, panels, strict=False):
        for method in methods:
            line = part[(part["method"] == method) & part["compared"].astype(bool)]
            if line.empty:
                continue
            shift = 1.03 ** (
                methods.index(method) - (len(methods) - 1) / 2
            )  # families share one cost: set their methods apart
            points(
                panel,
                line,
                np.maximum(line["cost"].to_numpy(float), 0.5) * shift,
                looks[method],
                vertical=True,
                label=style.label(method),
            )
        if table["low"].min() < 0.25 * table["high"].max():
            panel.axhline(0, **ZERO_LINE)
        panel.set_xscale("log")
        panel.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        panel.xaxis.set_minor_locator(NullLocator())
        panel.set_title(f"{title} ({count_text(part['n'])})")
    axes.flat[0].set_xlim(0.5 * table["cost"].clip(lower=0.5).min(), 2.0 * table["cost"].clip(lower=0.5).max())
    arrow = ARROWS[direction_of(parameters.metric, parameters.directions)]
    text = metric_text(style, parameters.metric, str(table["variant"].iloc[0]))
    picture.supxlabel(
        f"cost an image of the family, forward passes (a backward counts as {parameters.backward:g})",
        fontsize=style.font_size,
    )
    picture.supylabel(f"{text}{arrow}, mean over images", fontsize=style.font_size)
    legend_above(picture, axes.flat)
    blank(list(axes.flat)[len(panels) :])
    wrap_titles(picture)
    return picture

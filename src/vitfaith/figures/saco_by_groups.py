"""How a metric depends on the number of groups it ranks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from vitfaith.errors import ConfigError
from vitfaith.figures.drawing.data import CONDITION, PANEL, SUMMARY, FigureData, select, tidy
from vitfaith.figures.drawing.directions import ARROWS, direction_of
from vitfaith.figures.drawing.draw import (
    ZERO_LINE,
    blank,
    canvas,
    count_text,
    facets,
    legend_above,
    legend_mm,
    points,
    shape_of,
    wrap_titles,
)
from vitfaith.figures.drawing.names import number_in
from vitfaith.figures.drawing.style import Style
from vitfaith.figures.drawing.variants import Known, check_exists
from vitfaith.figures.registry import figure
from vitfaith.figures.saco_leaderboard import Leaderboard

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame


class ByGroups(Leaderboard):
    """Which metric and condition."""

    variant: str | None = Field(None, description="the variant to show; default: all k=…")

    def check_variants(self, known: Known) -> None:
        """See :class:`~vitfaith.figures.drawing.variants.ShowsVariants`."""
        variants = known.summary.get(self.metric)
        if variants is None:
            return
        if all(number_in(one, "k") is None for one in variants):
            raise ConfigError(
                f"metric: '{self.metric}' has no variant k=…; name a metric with the setting groups, such as saco"
            )
        if self.variant is not None:
            check_exists("variant", f"metric '{self.metric}'", variants, self.variant)


def rows(data: FigureData, parameters: ByGroups) -> DataFrame:
    """One row per (dataset, model, method, K); ``groups`` is the number K."""
    frame = select(data.table("summary", SUMMARY), "summary", metric=parameters.metric)
    frame = select(
        frame,
        "summary",
        reference="",
        **parameters.wanted(),
        variant=parameters.variant,
    )
    frame = frame[[number_in(str(v), "k") is not None for v in frame["variant"]]]
    frame = frame.assign(groups=[number_in(str(v), "k") or 0.0 for v in frame["variant"]])
    if frame.empty:
        raise ConfigError(
            f"metric '{parameters.metric}' has no variant k=…; set its parameter groups to several numbers"
        )
    return tidy(frame, "summary", [*CONDITION, "method", "groups"])


@figure(
    "saco_by_groups",
    needs=("summary",),
    rows=rows,
    title="Faithfulness and the number of groups",
    caption=(
        "Mean of ``{metric}`` over images against the number K of groups of features that it compares, for attack "
        "``{attack}`` and smoothing ``{smoothing}``. Bars are confidence intervals of the mean; points are moved apart "
        "sideways so that they can be read. Where lines cross, the order of the methods depends on K."
    ),
    category="metrics",
    parameters=ByGroups,
    citation="Wu et al. 2024 (arXiv 2404.01415), table 2",
)
def saco_by_groups(data: FigureData, parameters: ByGroups, style: Style) -> Figure:
    """Mean of a metric with intervals against the number of groups, by method."""
    table = rows(data, parameters)
    panels = facets(table, PANEL, style)
    looks, methods = style.looks(table["method"]), style.order(table["method"])
    shape = shape_of(len(panels), 2 if style.columns == "two" else 1)
    picture, axes = canvas(
        style, *shape, panel_mm=60, extra_mm=legend_mm(style, len(methods)), sharex=True, sharey=True
    )
    numbers = sorted(table["groups"].unique())
    for panel, (title, part) in zip(axes.flat, panels, strict=False):
        for i, method in enumerate(methods):
            line = part[part["method"] == method].sort_values("groups")
            at = line["groups"].map({k: j for j, k in enumerate(numbers)}).to_numpy(float)
            shift = (i / max(1, len(methods) - 1) - 0.5) * 0.3
            points(panel, line, at + shift, looks[method], vertical=True, line=True, label=style.label(method))
        if table["low"].min() < 0.25 * table["high"].max():
            panel.axhline(0, **ZERO_LINE)
        panel.set_xticks(range(len(numbers)), [f"{k:g}" for k in numbers])
        panel.set_xlim(-0.5, len(numbers) - 0.5)
        panel.set_title(f"{title} ({count_text(part['n'])})")
        panel.grid(visible=False, axis="x")
    arrow = ARROWS[direction_of(parameters.metric, parameters.directions)]
    picture.supxlabel("number of groups K", fontsize=style.font_size)
    picture.supylabel(f"{style.label(parameters.metric)}{arrow}, mean over images", fontsize=style.font_size)
    legend_above(picture, axes.flat)
    blank(list(axes.flat)[len(panels) :])
    wrap_titles(picture)
    return picture

"""Which methods say more than random maps, by which metric?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from vitfaith.errors import ConfigError
from vitfaith.figures.drawing.data import CONDITION, PANEL, FigureData, MethodsOfOneCondition, select, tidy
from vitfaith.figures.drawing.directions import ARROWS, Directions, direction_of
from vitfaith.figures.drawing.draw import canvas, count_text, facets, metric_text, wrap_titles
from vitfaith.figures.drawing.heat import heat_panel
from vitfaith.figures.drawing.style import Style
from vitfaith.figures.drawing.variants import Known, ShowsVariants, check_variant, default_variant
from vitfaith.figures.registry import figure
from vitfaith.lazy import np
from vitfaith.order import natural
from vitfaith.registry import Ids

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

KEYS = (*CONDITION, "reference", "metric", "variant", "method", "opponent")
COLUMNS = (*KEYS, "n", "difference", "low", "high", "p")

STARS = ((0.001, "***"), (0.01, "**"), (0.05, "*"))
"""Level of the adjusted p-value → mark."""


def stars(p: float) -> str:
    """``***``, ``**``, ``*`` for p < 0.001, 0.01, 0.05, else nothing (also for NaN)."""
    return next((mark for level, mark in STARS if p < level), "")


class BeatsRandom(ShowsVariants, MethodsOfOneCondition):
    """Which condition, metrics and opponent."""

    opponent: Annotated[str, Ids("explainers")] = Field("random", description="method to compare with")
    metrics: Annotated[tuple[str, ...], Ids("metrics")] = Field(
        (), description="metrics to show; empty: all for which higher or lower is better"
    )
    variants: Annotated[dict[str, str], Ids("metrics")] = Field(
        default_factory=dict, description="metric → its variant; without it the only one, k=10, or else the first"
    )
    directions: Directions

    def check_variants(self, known: Known) -> None:
        """See :class:`~vitfaith.figures.drawing.variants.ShowsVariants`."""
        for metric, asked in self.variants.items():
            check_variant("variants", metric, known.compared.get(metric), asked, "k=10")


def rows(data: FigureData, parameters: BeatsRandom) -> DataFrame:
    """One row per (dataset, model, metric, method) with ``gain``: the mean paired difference, positive if better.

    ``p_adjusted`` is by Holm over the tests against the opponent in one panel and metric that are shown.
    """
    import pandas as pd

    from vitfaith.statistics import against

    frame = data.table("statistics", COLUMNS)
    frame = select(
        frame,
        "statistics",
        reference="",
        opponent=parameters.opponent,
        **parameters.wanted(),
        metric=parameters.metrics,
    )
    parts = []
    for metric in sorted(frame["metric"].unique(), key=natural):
        direction = direction_of(metric, parameters.directions)
        if direction == "none":
            continue
        part = frame[frame["metric"] == metric]
        variants = sorted(part["variant"].unique(), key=natural)
        asked = parameters.variants.get(metric)
        if asked is None:
            asked = default_variant(variants, "k=10") or variants[0]
        part = select(part, "statistics", variant=asked)
        sign = 1.0 if direction == "higher" else -1.0
        part = against(part, parameters.opponent, [*CONDITION, "metric"])
        parts.append(part.assign(gain=sign * part["difference"], compared=part["n"] > 0))
    if not parts:
        raise ConfigError("metrics: none of those in table 'statistics' has a better direction; set directions")
    return tidy(pd.concat(parts, ignore_index=True), "statistics", KEYS)


@figure(
    "beats_random",
    needs=("statistics",),
    rows=rows,
    title="Who beats random maps",
    caption=(
        "Mean difference between a method and ``{opponent}`` on the same images, in units of the metric, turned so "
        "that positive is better; colours are relative to the largest difference of the metric in a panel. Stars: "
        "Wilcoxon signed-rank test, p-values adjusted by Holm over the tests against ``{opponent}`` that a column of a panel "
        "shows (\\* p < 0.05, \\*\\* p < 0.01, \\*\\*\\* p < 0.001). Without a star a method is not shown to differ."
    ),
    category="metrics",
    parameters=BeatsRandom,
    citation="Wilcoxon 1945; Holm 1979",
)
def beats_random(data: FigureData, parameters: BeatsRandom, style: Style) -> Figure:
    """Paired differences from random maps by method and metric, with Holm-adjusted significance."""
    table = rows(data, parameters)
    metrics = list(dict.fromkeys(sorted(table["metric"], key=natural)))
    variants = dict(zip(table["metric"], table["variant"], strict=True))
    methods = style.order(table["method"])
    panels = facets(table, PANEL, style)
    two = style.columns == "two" and len(metrics) <= 5 and len(panels) > 1
    shape = (-(-len(panels) // 2), 2) if two else (len(panels), 1)
    picture, axes = canvas(style, *shape, panel_mm=26 + len(methods) * 0.95 * style.font_size)
    for panel, (title, part) in zip(axes.flat, panels, strict=False):
        keyed = {(r["method"], r["metric"]): r for _, r in part.iterrows()}
        largest = part.groupby("metric")["gain"].apply(lambda gain: gain.abs().max())
        grid = np.full((len(methods), len(metrics)), np.nan)
        texts = np.full(grid.shape, "", dtype=object)
        for (method, metric), row in keyed.items():
            i, j = methods.index(method), metrics.index(metric)
            grid[i, j] = row["gain"] / largest[metric] if largest[metric] > 0 else 0.0
            shown = f"{row['gain']:+#.2g}".rstrip(".").replace("-", "−") if np.isfinite(row["gain"]) else "–"
            verdict = stars(row["p_adjusted"]) or "n.s."
            texts[i, j] = f"{shown}\n{verdict}" if row["compared"] else shown
        heat_panel(
            panel,
            grid,
            texts.astype(str),
            style,
            bound=1,
            rows=[style.label(m) for m in methods],
            columns=[
                metric_text(style, m, variants[m]) + ARROWS[direction_of(m, parameters.directions)] for m in metrics
            ],
            turned=True,
            font_size=0.8 * style.font_size,
        )
        panel.set_title(f"{title} ({count_text(part['n'])})")
    for panel in list(axes.flat)[len(panels) :]:
        panel.set_axis_off()
    picture.supxlabel(
        f"metric: mean paired difference from {style.label(parameters.opponent)}, positive is better",
        fontsize=style.font_size,
    )
    wrap_titles(picture)
    return picture

"""Mean ranks of the methods, and groups without a significant difference."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from vitfaith.figures.drawing.data import CONDITION, PANEL, SCORES, FigureData, Part, pick_variant, select, tidy
from vitfaith.figures.drawing.directions import direction_of
from vitfaith.figures.drawing.draw import canvas, facets, metric_text, wrap_titles
from vitfaith.figures.drawing.style import Style
from vitfaith.figures.registry import figure
from vitfaith.figures.saco_leaderboard import Leaderboard

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

    from vitfaith.statistics import MeanRanks


class CriticalDifference(Leaderboard):
    """Which metric, condition and level."""

    table = "scores"

    alpha: float = Field(0.05, gt=0, lt=0.5, description="family-wise error of Nemenyi's test")
    coverage: float | None = Field(
        None,
        ge=0,
        le=1,
        description="share of the images that a method needs to be ranked; without it statistics.coverage",
    )


def chosen(data: FigureData, parameters: CriticalDifference) -> DataFrame:
    """The scores that are ranked, one row per (dataset, model, method, image)."""
    frame = select(data.table("scores", SCORES), "scores", metric=parameters.metric)
    frame = select(frame, "scores", variant=pick_variant(frame, "scores", parameters.variant))
    frame = select(
        frame,
        "scores",
        **parameters.wanted(),
    )
    return tidy(frame, "scores", [*CONDITION, "method", "image_id"])


def ranking(part: DataFrame, parameters: CriticalDifference) -> MeanRanks:
    """Mean ranks of the methods of one panel."""
    from vitfaith.statistics import COVERAGE, friedman_nemenyi

    table = part.pivot(index="method", columns="image_id", values="value").sort_index().sort_index(axis=1)
    lower = direction_of(parameters.metric, parameters.directions) == "lower"
    share = COVERAGE if parameters.coverage is None else parameters.coverage
    clusters = dict(zip(part["image_id"], part["cluster"], strict=True)) if "cluster" in part else None
    return friedman_nemenyi(
        table, direction="lower" if lower else "higher", alpha=parameters.alpha, coverage=share, clusters=clusters
    )


def rows(data: FigureData, parameters: CriticalDifference) -> DataFrame:
    """One row per (dataset, model, method) with its mean ``rank`` (NaN below the line), ``critical_difference``, n, dropped."""
    import pandas as pd

    found = []
    for key, part in chosen(data, parameters).groupby(list(PANEL), sort=True):
        ranks = ranking(part, parameters)
        own = {m: int(v) for m, v in part[part["value"].notna()].groupby("method")["value"].count().items()}
        asked = part[part["value"].notna()]["image_id"].nunique()
        for method, rank in [*ranks.ranks.items(), *((m, float("nan")) for m in ranks.below)]:
            found.append(
                {
                    **dict(zip(PANEL, key, strict=True)),
                    "method": method,
                    "rank": rank,
                    "critical_difference": ranks.critical_difference,
                    "p": ranks.p,
                    "n": ranks.n if method not in ranks.below else 0,
                    "dropped": ranks.dropped,
                    "compared": method not in ranks.below,
                    "n_own": own.get(str(method), 0),
                    "asked": asked,
                }
            )
    return pd.DataFrame(found)


@figure(
    "critical_difference",
    needs=("scores",),
    reads=lambda p: {"scores": Part(SCORES, {"metric": p.metric, "attack": p.attack, "smoothing": p.smoothing})},
    rows=rows,
    title="Critical differences",
    caption=(
        "Mean rank of each method over images by ``{metric}`` (1 is best), for attack ``{attack}`` and smoothing "
        "``{smoothing}``. Methods joined by a bar differ by less than the critical difference (CD) of Nemenyi's test at "
        "level {alpha}, so their order is not established. Images on which a compared method has no score are left out for all."
    ),
    category="faithfulness",
    parameters=CriticalDifference,
    citation="Demšar 2006, JMLR 7; Nemenyi 1963",
)
def critical_difference(data: FigureData, parameters: CriticalDifference, style: Style) -> Figure:
    """Mean ranks with groups of methods that Nemenyi's test cannot distinguish."""
    table = chosen(data, parameters)
    panels = facets(table, PANEL, style)
    most = max(part["method"].nunique() for _, part in panels)
    picture, axes = canvas(style, len(panels), 1, panel_mm=25 + (most + 1) // 2 * 0.62 * style.font_size)
    for panel, (title, part) in zip(axes[:, 0], panels, strict=True):
        result = ranking(part, parameters)
        _diagram(panel, result, style)
        dropped = f", {result.dropped} left out" if result.dropped else ""
        below = len(result.below)
        dropped += f"; {below} {'method' if below == 1 else 'methods'} not compared" if below else ""
        units = "" if result.unit == "images" else f" {result.unit}"
        friedman = "p < 0.001" if result.p < 0.001 else f"p = {result.p:.3f}"
        panel.set_title(f"{title} (n = {result.n}{units}{dropped}; Friedman {friedman})")
    variant = str(table["variant"].iloc[0])
    picture.supxlabel(
        f"mean rank by {metric_text(style, parameters.metric, variant)}, 1 is best", fontsize=style.font_size
    )
    wrap_titles(picture)
    return picture


def _diagram(panel: Axes, result: MeanRanks, style: Style) -> None:
    names, ranks = list(result.ranks.index), result.ranks.to_numpy()
    k = len(names)
    looks = style.looks(names)
    groups = result.groups()
    half = (k + 1) // 2
    bars = 0.45 * len(groups)
    panel.set_xlim(1 - 0.12 * (k - 1) - 0.05, k + 0.12 * (k - 1) + 0.05)
    panel.set_ylim(-(bars + half + 0.7), 2.6)
    panel.plot([1, k], [0, 0], color="black", linewidth=0.9)
    for tick in range(1, k + 1):
        panel.plot([tick, tick], [0, 0.22], color="black", linewidth=0.9)
        panel.text(tick, 0.32, str(tick), ha="center", va="bottom", fontsize=style.small)
    left, right = panel.get_xlim()
    for i, (name, rank) in enumerate(zip(names, ranks, strict=True)):
        first = i < half
        y = -(bars + 0.7 + (i if first else k - 1 - i))
        edge = left + 0.01 * (right - left) if first else right - 0.01 * (right - left)
        panel.plot([rank, rank, edge], [0, y, y], color=looks[name].colour, linewidth=0.9, solid_joinstyle="miter")
        panel.plot(
            rank, 0, marker=looks[name].marker, color=looks[name].colour, markersize=3.5, linestyle="none", zorder=4
        )
        text = f"{style.label(name)}  {rank:.2f}" if first else f"{rank:.2f}  {style.label(name)}"
        panel.annotate(
            text, (edge, y), xytext=(-3 if first else 3, 0), textcoords="offset points",
            ha="right" if first else "left", va="center", fontsize=style.small,
        )  # fmt: skip
    for i, group in enumerate(groups):
        y = -0.4 - 0.45 * i
        spread = [ranks[names.index(group[0])], ranks[names.index(group[-1])]]
        panel.plot(
            [spread[0] - 0.03, spread[1] + 0.03], [y, y], color="black", linewidth=2.6, solid_capstyle="butt", zorder=3
        )
    cd = min(result.critical_difference, k - 1)
    panel.plot([1, 1 + cd], [2.1, 2.1], color="#444444", linewidth=1.1, marker="|", markersize=5)
    panel.text(
        1 + cd + 0.05, 2.1, f"CD = {result.critical_difference:.2f}", ha="left", va="center", fontsize=style.small
    )
    panel.set(xticks=[], yticks=[])
    panel.spines[:].set_visible(False)
    panel.grid(visible=False)

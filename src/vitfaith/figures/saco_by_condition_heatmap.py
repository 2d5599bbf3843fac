"""One metric for all methods in all conditions, as numbers on colours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vitfaith.figures.drawing.data import PANEL, FigureData, overall_order
from vitfaith.figures.drawing.directions import ARROWS, direction_of
from vitfaith.figures.drawing.draw import canvas, count_text, facets, metric_text, wrap_titles
from vitfaith.figures.drawing.heat import heat_panel
from vitfaith.figures.drawing.names import decimal, order_conditions
from vitfaith.figures.drawing.style import Style
from vitfaith.figures.registry import figure
from vitfaith.figures.saco_by_condition import ByCondition, rows
from vitfaith.lazy import np

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@figure(
    "saco_by_condition_heatmap",
    needs=("summary",),
    rows=rows,
    title="Faithfulness in every condition, as a table",
    caption=(
        "Mean of ``{metric}`` over images, its confidence interval in brackets; methods down, conditions (attack, "
        "smoothing) across, one panel per model. Colours are symmetric about zero. Grey cells are not compared: the method has too few usable images."
    ),
    category="faithfulness",
    parameters=ByCondition,
    citation="Wu et al. 2024 (arXiv 2404.01415); Hu et al. 2024 (arXiv 2311.17983)",
)
def saco_by_condition_heatmap(data: FigureData, parameters: ByCondition, style: Style) -> Figure:
    """Mean of a metric with its interval as numbers on a diverging colour scale."""
    table = rows(data, parameters)
    direction = direction_of(parameters.metric, parameters.directions)
    panels = facets(table, PANEL, style)
    methods = overall_order(table, style.order(table["method"]), descending=direction != "lower")
    conditions = [
        (attack, smoothing)
        for attack in order_conditions(table["attack"])
        for smoothing in order_conditions(table["smoothing"])
        if ((table["attack"] == attack) & (table["smoothing"] == smoothing)).any()
    ]
    bound = float(np.nanmax(np.abs(table["mean"]))) if table["mean"].notna().any() else 1.0
    cell_mm = max(8.0, 1.02 * style.font_size)
    wide = style.columns == "two" or len(conditions) <= 3
    picture, axes = canvas(style, len(panels), 1, panel_mm=(16 if wide else 24) + len(methods) * cell_mm)
    line = "\n"
    for panel, (title, part) in zip(axes[:, 0], panels, strict=True):
        keyed = {(r["method"], r["attack"], r["smoothing"]): r for _, r in part.iterrows()}
        grid = np.full((len(methods), len(conditions)), np.nan)
        texts = np.full(grid.shape, "", dtype=object)
        for i, method in enumerate(methods):
            for j, condition in enumerate(conditions):
                if (method, *condition) not in keyed:
                    continue
                row = keyed[method, *condition]
                grid[i, j], texts[i, j] = row["mean"], "–"
                if np.isfinite(row["mean"]):
                    bracket = f"\n[{decimal(row['low'], 2)}, {decimal(row['high'], 2)}]" if wide else ""
                    texts[i, j] = decimal(row["mean"], 2) + bracket
        image = heat_panel(
            panel,
            grid,
            texts.astype(str),
            style,
            bound=bound,
            rows=[style.label(m) for m in methods],
            columns=[f"{style.label(a)}{line if wide else ', '}{style.label(s)}" for a, s in conditions],
            turned=not wide,
            font_size=0.8 * style.font_size,
        )
        panel.set_title(f"{title} ({count_text(part['n'])})")
    text = metric_text(style, parameters.metric, str(table["variant"].iloc[0]))
    bar = picture.colorbar(image, ax=list(axes[:, 0]), shrink=0.8, aspect=30, pad=0.015)
    bar.set_label(f"{text}{ARROWS[direction]}, mean over images")
    bar.outline.set_visible(False)
    wrap_titles(picture)
    return picture

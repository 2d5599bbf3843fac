"""One metric for all methods in all conditions, as numbers on colours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vitfaith.figures.data import FigureData
from vitfaith.figures.directions import ARROWS, direction_of
from vitfaith.figures.draw import canvas, count_text, facets, metric_text, text_on, wrap_titles
from vitfaith.figures.names import decimal, order_conditions
from vitfaith.figures.registry import figure
from vitfaith.figures.saco_by_condition import ByCondition, rows
from vitfaith.figures.style import Style

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@figure(
    "saco_by_condition_heatmap",
    needs=("summary",),
    rows=rows,
    title="Faithfulness in every condition, as a table",
    caption=(
        "Mean of ``{metric}`` over images, its confidence interval in brackets; methods down, conditions (attack, "
        "smoothing) across, one panel a model. Colours are symmetric about zero. Grey cells have no usable image."
    ),
    category="faithfulness",
    parameters=ByCondition,
    citation="Wu et al. 2024 (arXiv 2404.01415); Hu et al. 2024 (arXiv 2311.17983)",
)
def saco_by_condition_heatmap(data: FigureData, parameters: ByCondition, style: Style) -> Figure:
    """Mean of a metric with its interval as numbers on a diverging colour scale."""
    import matplotlib
    from matplotlib.colors import Normalize

    table = rows(data, parameters)
    direction = direction_of(parameters.metric, parameters.directions)
    panels = facets(table, ("dataset", "model"), style)
    overall = table.groupby("method")["mean"].mean()
    sign = 1 if direction == "lower" else -1
    methods = sorted(style.order(table["method"]), key=lambda m: sign * overall[m])
    conditions = [
        (attack, smoothing)
        for attack in order_conditions(table["attack"])
        for smoothing in order_conditions(table["smoothing"])
        if ((table["attack"] == attack) & (table["smoothing"] == smoothing)).any()
    ]
    bound = float(np.nanmax(np.abs(table["mean"]))) if table["mean"].notna().any() else 1.0
    norm, colours = Normalize(-bound, bound), matplotlib.colormaps[style.diverging].with_extremes(bad="#CCCCCC")
    cell_mm = max(8.0, 1.02 * style.font_size)
    wide = style.columns == "two" or len(conditions) <= 3
    picture, axes = canvas(style, len(panels), 1, panel_mm=(16 if wide else 24) + len(methods) * cell_mm)
    line = "\n"
    for panel, (title, part) in zip(axes[:, 0], panels, strict=True):
        keyed = {(r["method"], r["attack"], r["smoothing"]): r for _, r in part.iterrows()}
        grid = np.full((len(methods), len(conditions)), np.nan)
        for i, method in enumerate(methods):
            for j, condition in enumerate(conditions):
                if (method, *condition) not in keyed:
                    continue
                row = keyed[method, *condition]
                grid[i, j] = row["mean"]
                shown = "none usable"
                if np.isfinite(row["mean"]):
                    bracket = f"\n[{decimal(row['low'], 2)}, {decimal(row['high'], 2)}]" if wide else ""
                    shown = decimal(row["mean"], 2) + bracket
                ink = text_on(colours(norm(row["mean"]))) if np.isfinite(row["mean"]) else "black"
                panel.text(
                    j, i, shown, ha="center", va="center", fontsize=0.8 * style.font_size, color=ink, linespacing=1.1
                )
        image = panel.imshow(np.ma.masked_invalid(grid), cmap=colours, norm=norm, aspect="auto")
        labels = [f"{style.label(a)}{line if wide else ', '}{style.label(s)}" for a, s in conditions]
        turned = {} if wide else {"rotation": 40, "ha": "right", "rotation_mode": "anchor"}
        panel.set_xticks(range(len(conditions)), labels, **turned)
        panel.set_yticks(range(len(methods)), [style.label(m) for m in methods])
        panel.tick_params(length=0)
        panel.grid(visible=False)
        panel.spines[:].set_visible(False)
        panel.set_title(f"{title} ({count_text(part['n'])})")
    text = metric_text(style, parameters.metric, str(table["variant"].iloc[0]))
    bar = picture.colorbar(image, ax=list(axes[:, 0]), shrink=0.8, aspect=30, pad=0.015)
    bar.set_label(f"{text}{ARROWS[direction]}, mean over images")
    bar.outline.set_visible(False)
    wrap_titles(picture)
    return picture

"""A picture of which metric to trust: one row per metric, one panel per quantity."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vitfaith.figures.drawing.draw import arms, canvas, count_text, metric_text
from vitfaith.figures.drawing.style import MARKERS, PALETTES, Style
from vitfaith.order import natural

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

AXES = {
    "separation": ("separates methods\nfrom random maps", "AUC over images", 0.5),
    "alpha": ("images agree on\nthe order", "Krippendorff's α", 0.0),
    "split_half": ("half the images find\nthe same order", "ρ, stepped up", 0.0),
    "truth": ("orders methods\nas the truth does", "Kendall's τ", 0.0),
    "robustness": ("orders methods as\nunder other choices", "Kendall's τ", 0.0),
}
"""Quantity → title, unit, and the value that says nothing."""

_ROW_MM = 4.4


def draw_trust(table: DataFrame, style: Style) -> Figure:
    """Metrics of one condition, the most separating first, with intervals; a grey line is the value that says nothing.

    Args:
        table: rows of :func:`vitfaith.statistics.trust.metric_trust`.
    """
    shown = [name for name in AXES if (table["quantity"] == name).any()]
    order = table[table["quantity"] == "separation"].sort_values("value", ascending=False)["metric"].tolist()
    # other choices first, so that a choice looks the same whatever the truth is
    kinds = {
        (quantity == "truth", str(other)) for quantity, other in zip(table["quantity"], table["other"], strict=True)
    }
    names = [name for _, name in sorted(kinds, key=lambda kind: (kind[0], natural(kind[1]))) if name]
    marks, colours = MARKERS, PALETTES[style.palette]
    looks = {name: (marks[i % len(marks)], colours[i % len(colours)]) for i, name in enumerate(["", *names])}
    picture, axes = canvas(style, 1, len(shown), panel_mm=22 + _ROW_MM * len(order), sharey=True)
    for panel, name in zip(axes.flat, shown, strict=True):
        part = table[table["quantity"] == name]
        others = [one for one in names if (part["other"] == one).any()] or [""]
        for place, other in enumerate(others):
            rows = part[part["other"] == other].set_index("metric").reindex(order)
            shift = 0.0 if len(others) == 1 else 0.5 * place / (len(others) - 1) - 0.25
            _draw(panel, rows, np.arange(len(order)) + shift, *looks[other], other)
        title, unit, nothing = AXES[name]
        panel.axvline(nothing, color="0.6", linewidth=0.8, zorder=0)
        lowest = min([nothing, *part["value"].dropna(), *part["low"].dropna()])
        margin = 0.05 * (1 - lowest)
        panel.set(title=title, xlabel=f"{unit}\n({count_text(part['n'])})", xlim=(lowest - margin, 1 + margin))
        panel.grid(visible=style.grid, axis="x")
        panel.grid(visible=False, axis="y")
    first = axes.flat[0]
    first.set_yticks(range(len(order)), [metric_text(style, *name.partition(" ")[::2]) for name in order])
    first.set_ylim(len(order) - 0.4, -0.6)
    told = {
        label: handle for panel in axes.flat for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)
    }
    if told:
        picture.legend(
            told.values(),
            told,
            loc="outside lower center",
            ncols=min(4, len(told)),
            fontsize=style.small,
            frameon=False,
        )
    return picture


def _draw(panel: Axes, rows: DataFrame, places: np.ndarray, mark: str, colour: str, label: str) -> None:
    value, low, high = (rows[name].to_numpy(dtype=float) for name in ("value", "low", "high"))
    reach = np.nan_to_num(arms(value, low, high))
    panel.errorbar(value, places, xerr=reach, fmt=mark, color=colour, markersize=4, linewidth=1, label=label or None)

"""Do the metrics agree on which methods are good?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from vitfaith.errors import ConfigError, did_you_mean
from vitfaith.figures.drawing.data import CONDITION, PANEL, FigureData, OneCondition, select, tidy
from vitfaith.figures.drawing.draw import canvas, count_text, facets, wrap_titles
from vitfaith.figures.drawing.heat import heat_panel
from vitfaith.figures.drawing.names import decimal
from vitfaith.figures.drawing.style import Style
from vitfaith.figures.drawing.variants import Known, ShowsVariants, listed
from vitfaith.figures.registry import figure
from vitfaith.lazy import np
from vitfaith.order import natural

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

Level = Literal["methods", "methods_per_image", "images"]
KEYS = (*CONDITION, "metric", "other", "level")

TITLES: dict[Level, str] = {
    "methods": "order of the methods' means",
    "methods_per_image": "order of the methods on one image",
    "images": "order of the images for one method",
}


class Agreement(ShowsVariants, OneCondition):
    """Which condition and level."""

    metrics: tuple[str, ...] = Field(
        (), description="metrics to show, with their variant as in the table ('saco k=10'); empty: all"
    )
    levels: tuple[Level, ...] = Field(
        ("methods", "methods_per_image"),
        min_length=1,
        description="compared orders: methods (of their means), methods_per_image (of the methods on each image), images (for each method)",
    )

    def check_variants(self, known: Known) -> None:
        """See :class:`~vitfaith.figures.drawing.variants.ShowsVariants`."""
        if None in known.compared.values():
            return
        names = [f"{metric} {one}".strip() for metric, variants in known.compared.items() for one in variants or ()]
        for asked in self.metrics:
            if asked not in names:
                raise ConfigError(
                    f"metrics: there is no '{asked}'{did_you_mean(asked, names)}; there is {listed(names)}"
                )


def rows(data: FigureData, parameters: Agreement) -> DataFrame:
    """One row per (dataset, model, level, pair of metrics) over ``n`` images; ``correlations`` were averaged."""
    frame = data.table("agreement", (*KEYS, "kendall", "spearman", "n", "images", "methods", "left_out"))
    frame = select(
        frame,
        "agreement",
        **parameters.wanted(),
        level=parameters.levels,
    )
    if parameters.metrics:
        known = sorted({*frame["metric"], *frame["other"]}, key=natural)
        asked = frame.iloc[:0].reindex(range(len(known))).assign(metric=known)
        select(asked, "agreement", metric=parameters.metrics)
        frame = frame[frame["metric"].isin(parameters.metrics) & frame["other"].isin(parameters.metrics)]
    return tidy(frame, "agreement", KEYS).rename(columns={"n": "correlations", "images": "n"})


def metric_label(style: Style, name: str) -> str:
    """``SaCo k=10`` for ``saco k=10``."""
    metric, _, variant = name.partition(" ")
    return f"{style.label(metric)} {variant}".strip()


@figure(
    "metric_agreement",
    needs=("agreement",),
    rows=rows,
    title="Agreement of the metrics",
    caption=(
        "Rank correlation between every two metrics, each turned so that larger is better: Kendall's τ-b below the "
        "diagonal, Spearman's ρ above it. 1 means that two metrics give the same order, 0 that they have nothing to do "
        "with each other. With m methods the order of the means has m points, so single values are uncertain; the "
        "order on one image is averaged over images. Two metrics are compared over the methods and images that both have. Grey "
        "cells are undefined."
    ),
    category="metrics",
    parameters=Agreement,
    citation="Wu et al. 2024 (arXiv 2404.01415); Kendall 1945",
)
def metric_agreement(data: FigureData, parameters: Agreement, style: Style) -> Figure:
    """Kendall's τ and Spearman's ρ between every two metrics."""
    table = rows(data, parameters)
    names = sorted({*table["metric"], *table["other"]}, key=natural)
    groups = facets(table, PANEL, style)
    side_by_side = len(parameters.levels) if style.columns == "two" else 1
    panels = [
        (f"{title}: {TITLES[level]}", part[part["level"] == level])
        for title, part in groups
        for level in parameters.levels
    ]
    shape = (-(-len(panels) // side_by_side), side_by_side)
    room = (style.width * 25.4 - 22) / shape[1] - 32
    picture, axes = canvas(style, *shape, panel_mm=min(room, 70) + 37)
    size = style.font_size * min(0.85, 5.2 / len(names))
    for panel, (title, part) in zip(axes.flat, panels, strict=True):
        grid = np.full((len(names), len(names)), np.nan)
        for _, row in part.iterrows():
            i, j = sorted((names.index(row["metric"]), names.index(row["other"])))
            grid[j, i], grid[i, j] = row["kendall"], row["spearman"]
        labels = [metric_label(style, name) for name in names]
        image = heat_panel(
            panel,
            grid,
            np.array([[decimal(v, 2) if np.isfinite(v) else "" for v in line] for line in grid]),
            style,
            bound=1,
            rows=labels,
            columns=labels,
            turned=True,
            font_size=size,
            blank_diagonal=True,
        )
        panel.set_aspect("equal")
        panel.set_title(f"{title} ({count_text(part['n'])})")
    bar = picture.colorbar(image, ax=list(axes.flat), shrink=0.6, aspect=30, pad=0.015)
    bar.set_label("rank correlation (τ below, ρ above)")
    bar.outline.set_visible(False)
    wrap_titles(picture)
    return picture

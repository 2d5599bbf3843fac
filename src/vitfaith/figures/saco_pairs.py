"""Which pairs of groups break SaCo, method by method."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from vitfaith.errors import ConfigError
from vitfaith.figures.drawing.data import CONDITION, PANEL, FigureData, MethodsOfOneCondition, select, tidy
from vitfaith.figures.drawing.draw import blank, canvas, count_text, facets, shape_of, wrap_titles
from vitfaith.figures.drawing.heat import heat_map
from vitfaith.figures.drawing.names import decimal
from vitfaith.figures.drawing.style import Style
from vitfaith.figures.drawing.variants import Known, ShowsVariants, check_exists
from vitfaith.figures.registry import figure
from vitfaith.lazy import np
from vitfaith.order import natural

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

KEYS = (*CONDITION, "method", "variant", "first", "second")


class Pairs(ShowsVariants, MethodsOfOneCondition):
    """Which condition, methods and groups."""

    variant: str | None = Field(
        None, description="level, fill and groups as in the table ('patch image_mean k=10'); without it the first one"
    )

    def check_variants(self, known: Known) -> None:
        """See :class:`~vitfaith.figures.drawing.variants.ShowsVariants`."""
        if known.curves is None:
            return
        groups = known.curves.get("groups", ())
        if not groups:
            raise ConfigError(
                "variant: the experiment has no metric of groups, whose pairs this figure shows; add saco to its metrics"
            )
        if self.variant is not None:
            check_exists("variant", "the table 'pairs'", groups, self.variant)


def rows(data: FigureData, parameters: Pairs) -> DataFrame:
    """One row per (dataset, model, method, pair of groups)."""
    frame = data.table("pairs", (*KEYS, "broken", "contribution", "n", "compared", "asked"))
    frame = select(frame, "pairs", **parameters.wanted())
    variant = parameters.variant or min(frame["variant"].astype(str), key=natural)
    found = tidy(select(frame, "pairs", variant=variant), "pairs", KEYS)
    return found.assign(n_own=found["n"])


@figure(
    "saco_pairs",
    needs=("pairs",),
    rows=rows,
    title="Pairs that break SaCo",
    caption=(
        "Share of images on which a pair of groups breaks the order that SaCo expects, for attack ``{attack}`` and "
        "smoothing ``{smoothing}``: the group that the map ranks higher (row; 1 is the most salient) changes the answer "
        "less than the one it ranks lower (column). Random maps break half of all pairs. SaCo weighs a pair by its gap in "
        "salience, so the upper right corner counts most; its mean stands in the title."
    ),
    category="faithfulness",
    parameters=Pairs,
    citation="Wu et al. 2024 (arXiv 2404.01415), algorithm 1",
)
def saco_pairs(data: FigureData, parameters: Pairs, style: Style) -> Figure:
    """Share of images on which each pair of groups breaks the order, one panel per model and method."""
    table = rows(data, parameters)
    groups, methods = facets(table, PANEL, style), style.order(table["method"])
    found = [(title, method, part[part["method"] == method]) for title, part in groups for method in methods]
    panels = [panel for panel in found if len(panel[2])]
    shape = shape_of(len(panels), 4 if style.columns == "two" else 2)
    picture, axes = canvas(style, *shape, panel_mm=(style.width * 25.4 - 20) / shape[1] + 6, sharex=True, sharey=True)
    count = int(table["second"].max())
    for number, (panel, (title, method, part)) in enumerate(zip(axes.flat, panels, strict=False)):
        share = np.full((count - 1, count - 1), np.nan)
        share[part["first"] - 1, part["second"] - 2] = part["broken"]
        heat_map(panel, share, vmin=0, vmax=1, cmap=style.diverging, mask=np.isnan(share), square=True)
        shown = range(0, count - 1, max(1, (count - 1) // 4))
        panel.set_xticks([i + 0.5 for i in shown], [str(i + 2) for i in shown])
        panel.set_yticks([i + 0.5 for i in shown], [str(i + 1) for i in shown], rotation=0, va="center")
        panel.tick_params(length=0, labelbottom=number + shape[1] >= len(panels))
        panel.grid(visible=False)
        panel.spines[:].set_visible(False)
        name = style.label(method) + (f", {title}" if len(groups) > 1 else "")
        fate = "" if part["compared"].all() else ", not compared"
        panel.set_title(f"{name}\nSaCo {decimal(part['contribution'].sum(), 2)} ({count_text(part['n'])}{fate})")
    blank(list(axes.flat)[len(panels) :])
    bar = picture.colorbar(axes.flat[0].collections[0], ax=axes, shrink=0.5, pad=0.01, ticks=[0, 0.5, 1])
    bar.set_label("share of images where the pair breaks", fontsize=style.font_size)
    bar.outline.set_visible(False)
    picture.supxlabel("rank of the group with less salience", fontsize=style.font_size)
    picture.supylabel("rank of the group with more", fontsize=style.font_size)
    wrap_titles(picture)
    return picture

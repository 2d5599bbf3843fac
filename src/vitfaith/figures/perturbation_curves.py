"""The model's output while patches are removed in the order of a map."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from vitfaith.errors import ConfigError
from vitfaith.figures.drawing.data import CONDITION, INTERVAL, FigureData, Selection, select, tidy
from vitfaith.figures.drawing.draw import (
    blank,
    canvas,
    count_text,
    facets,
    legend_above,
    legend_mm,
    shape_of,
    wrap_titles,
)
from vitfaith.figures.drawing.style import Style
from vitfaith.figures.drawing.variants import Known, ShowsVariants, check_exists
from vitfaith.figures.registry import figure
from vitfaith.order import natural
from vitfaith.registry import Ids

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

KEYS = (*CONDITION, "method", "curve", "variant", "step")
SHORT = {"morf": "MoRF", "lerf": "LeRF"}
COLUMNS = (*KEYS, "fraction", "quantity", *INTERVAL)


class Curves(ShowsVariants, Selection):
    """Which curves; the clean, undefended condition unless others are named."""

    attacks: Annotated[tuple[str, ...], Ids("attacks")] = Field(("clean",), description="attacks to show; empty: all")
    smoothings: Annotated[tuple[str, ...], Ids("smoothings")] = Field(
        ("none",), description="smoothings to show; empty: all"
    )
    curves: tuple[Literal["morf", "lerf"], ...] = Field(
        ("morf", "lerf"), min_length=1, description="orders of removal to show"
    )
    variant: str | None = Field(
        None, description="features, fill and steps as in the table; without it the finest variant that has all curves"
    )
    quantity: Literal["probability", "kl"] = Field(
        "probability", description="probability of the explained class, or KL(clean ‖ perturbed) in nats"
    )

    def check_variants(self, known: Known) -> None:
        """See :class:`~vitfaith.figures.drawing.variants.ShowsVariants`."""
        if known.curves is None:
            return
        found = {curve: known.curves.get(curve, ()) for curve in self.curves}
        if not set.intersection(*map(set, found.values())):
            raise ConfigError(
                f"curves: the experiment has no metric that reads {' and '.join(found)}; add one to its metrics, such as abpc, or "
                "name one curve"
            )
        for curve, variants in found.items():
            if self.variant is not None:
                check_exists("variant", f"the curve '{curve}'", variants, self.variant)


def finest_variant(frame: DataFrame, curves: tuple[str, ...]) -> str:
    """The variant with most steps among the variants with most of the ``curves``; ties go to the first name."""
    shown = frame[frame["curve"].isin(curves)]
    if shown.empty:
        raise ConfigError(
            f"table 'curves' has none of the curves {', '.join(curves)}; add a metric that reads them, such as abpc"
        )
    sizes = {
        str(name): (part["curve"].nunique(), int(part["step"].nunique())) for name, part in shown.groupby("variant")
    }
    return min(sizes, key=lambda name: (-sizes[name][0], -sizes[name][1], natural(name)))


def rows(data: FigureData, parameters: Curves) -> DataFrame:
    """One row per (condition, method, curve, step)."""
    frame = select(data.table("curves", COLUMNS), "curves", quantity=parameters.quantity)
    frame = select(frame, "curves", **parameters.wanted())
    frame = select(frame, "curves", variant=parameters.variant or finest_variant(frame, parameters.curves))
    frame = select(frame, "curves", curve=parameters.curves)
    return tidy(frame, "curves", KEYS)


@figure(
    "perturbation_curves",
    needs=("curves",),
    rows=rows,
    title="Perturbation curves",
    caption=(
        "Mean ``{quantity}`` over images while features are replaced, by method, with confidence bands. Most relevant "
        "first (MoRF): the faster the probability of the explained class falls, the better the map; least relevant "
        "first (LeRF): the longer it stays, the better. The grey dashed line is a random order. Bands are pointwise."
    ),
    category="faithfulness",
    parameters=Curves,
    citation="Samek et al. 2017; Petsiuk et al. 2018; Chefer et al. 2021",
)
def perturbation_curves(data: FigureData, parameters: Curves, style: Style) -> Figure:
    """Response against the share of replaced features, most and least relevant first, with confidence bands."""
    table = rows(data, parameters)
    looks = style.looks(table["method"])
    methods = style.order(table["method"])
    panels = [
        (f"{title}: {SHORT[curve]}", part[part["curve"] == curve])
        for title, part in facets(table, CONDITION, style)
        for curve in parameters.curves
    ]
    pairs = len(parameters.curves)
    per_row = pairs if style.columns == "one" or len(panels) <= 2 * pairs else 2 * pairs
    shape = shape_of(len(panels), 1 if style.columns == "one" else per_row)
    picture, axes = canvas(
        style,
        *shape,
        panel_mm=150 / shape[1] if shape[1] > 2 else 52,
        extra_mm=legend_mm(style, len(methods)),
        sharex=True,
        sharey=True,
    )
    for panel, (title, part) in zip(axes.flat, panels, strict=False):
        for method in methods:
            line = part[part["method"] == method].sort_values("fraction")
            if line.empty or not line["compared"].any():
                continue
            look = looks[method]
            x = 100 * line["fraction"].to_numpy(float)
            panel.fill_between(
                x, line["low"].to_numpy(float), line["high"].to_numpy(float), color=look.colour, alpha=0.13, linewidth=0
            )
            panel.plot(
                x,
                line["mean"].to_numpy(float),
                color=look.colour,
                linestyle=look.line,
                marker=look.marker,
                markersize=2.6,
                markevery=max(1, len(x) // 10),
                linewidth=1.2,
                label=style.label(method),
            )
        panel.set_title(f"{title} ({count_text(part['n'])})")
        panel.set_xlim(0, 100)
    for panel in axes.flat[len(panels) - shape[1] : len(panels)]:
        panel.tick_params(axis="x", labelbottom=True)
    name = {"probability": "probability of the explained class", "kl": "KL(clean ‖ perturbed), nats"}[
        parameters.quantity
    ]
    picture.supxlabel("replaced features, %", fontsize=style.font_size)
    picture.supylabel(name, fontsize=style.font_size)
    if parameters.quantity == "probability":
        axes.flat[0].set_ylim(bottom=0)
    legend_above(picture, axes.flat)
    blank(list(axes.flat)[len(panels) :])
    wrap_titles(picture)
    return picture

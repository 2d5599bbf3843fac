"""Effect of the explained class on a metric: paired differences by method."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from vitfaith.explained import CLEAN_PREDICTION, PREDICTION, in_short
from vitfaith.figures.drawing.data import CONDITION, FigureData, Selection, pick_variant, select, tidy
from vitfaith.figures.drawing.directions import Directions, direction_of
from vitfaith.figures.drawing.dodged import dodged_points
from vitfaith.figures.drawing.draw import ZERO_LINE, metric_text
from vitfaith.figures.drawing.style import Style
from vitfaith.figures.drawing.variants import OneVariant
from vitfaith.figures.registry import figure
from vitfaith.registry import Ids

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

COLUMNS = (
    *CONDITION,
    "opponent",
    "method",
    "metric",
    "variant",
    "n",
    "difference",
    "low",
    "high",
    "confidence",
    "differ",
)


class ByExplained(OneVariant, Selection):
    """Which metric, and which two explained classes."""

    table = "compared"

    explained: Annotated[tuple[str, ...], Ids("targets")] = Field(
        (PREDICTION,), min_length=1, description="values of explained whose scores are shown, against opponent"
    )
    opponent: Annotated[str, Ids("targets")] = Field(
        CLEAN_PREDICTION, description="value of explained whose score is subtracted"
    )
    directions: Directions


def rows(data: FigureData, parameters: ByExplained) -> DataFrame:
    """One row per (condition, method); ``mean`` is the paired difference."""
    frame = select(data.table("explained", COLUMNS), "explained", metric=parameters.metric)
    frame = select(frame, "explained", variant=pick_variant(frame, "explained", parameters.variant))
    frame = select(frame, "explained", opponent=parameters.opponent, **parameters.wanted())
    found = tidy(frame, "explained", [*CONDITION, "method"]).rename(columns={"difference": "mean"})
    return found.assign(left_out=", ".join(dict.fromkeys(found["method"][found["n"] == 0])))


@figure(
    "saco_by_explained",
    needs=("explained",),
    rows=rows,
    title="The explained class",
    caption=(
        "Mean over images of the paired difference in ``{metric}`` on the same image, by method: maps of the class named "
        "below minus maps of ``{opponent}``, one panel per model and attack, one colour per smoothing. Bars are "
        "confidence intervals of the mean difference (bootstrap over images). Right of the line the maps of the former class "
        "score higher. Each panel states the share of images on which the two classes differ; on the others the difference is 0."
    ),
    category="faithfulness",
    parameters=ByExplained,
    citation="Wu et al. 2024 (arXiv 2404.01415)",
)
def saco_by_explained(data: FigureData, parameters: ByExplained, style: Style) -> Figure:
    """Paired difference of a metric between two explained classes, by method, attack and smoothing."""
    table = rows(data, parameters)
    direction = direction_of(parameters.metric, parameters.directions)
    text = metric_text(style, parameters.metric, str(table["variant"].iloc[0]))

    def share(panel: Axes, part: DataFrame) -> None:
        panel.axvline(0, **ZERO_LINE)
        low, high = (f"{100 * value:.0f}" for value in (part["differ"].min(), part["differ"].max()))
        panel.annotate(
            f"classes differ: {low if low == high else f'{low}–{high}'} %",
            (1.0, 1.02),
            xycoords="axes fraction",
            ha="right",
            va="bottom",
            fontsize=style.small,
            color="#444444",
        )

    one = " or ".join(map(in_short, parameters.explained))
    label = f"{text}: {one} − {in_short(parameters.opponent)}, mean paired difference"
    return dodged_points(table, style, label, share, descending=direction != "lower")

"""One metric for all methods in all conditions, as points with intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vitfaith.figures.drawing.data import FigureData, Selection
from vitfaith.figures.drawing.directions import ARROWS, Directions, direction_of
from vitfaith.figures.drawing.dodged import dodged_points
from vitfaith.figures.drawing.draw import ZERO_LINE, metric_text
from vitfaith.figures.drawing.one_metric import metric_rows
from vitfaith.figures.drawing.style import Style
from vitfaith.figures.drawing.variants import OneVariant
from vitfaith.figures.registry import figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame


class ByCondition(OneVariant, Selection):
    """Which metric; all conditions unless some are named."""

    directions: Directions


def rows(data: FigureData, parameters: ByCondition) -> DataFrame:
    """One row per (condition, method)."""
    return metric_rows(data, parameters.metric, parameters.variant, wanted=parameters.wanted())


@figure(
    "saco_by_condition",
    needs=("summary",),
    rows=rows,
    title="Faithfulness in every condition",
    caption=(
        "Mean of ``{metric}`` over images for every method, one panel per model and attack, one colour per smoothing. "
        "Bars are confidence intervals of the mean. Methods stand in the order of their overall mean. A smoothing "
        "helps a method where its point lies on the better side and the intervals are apart; as the same images are "
        "behind both points, a paired test can separate them even where the intervals overlap."
    ),
    category="faithfulness",
    parameters=ByCondition,
    citation="Wu et al. 2024 (arXiv 2404.01415); Hu et al. 2024 (arXiv 2311.17983)",
)
def saco_by_condition(data: FigureData, parameters: ByCondition, style: Style) -> Figure:
    """Mean of a metric with intervals for every method, attack and smoothing."""
    table = rows(data, parameters)
    direction = direction_of(parameters.metric, parameters.directions)
    text = metric_text(style, parameters.metric, str(table["variant"].iloc[0]))

    def zero(panel: Axes, part: DataFrame) -> None:
        if table["low"].min() < 0.25 * table["high"].max():  # a zero far outside the values would squeeze them
            panel.axvline(0, **ZERO_LINE)

    return dodged_points(
        table, style, f"{text}{ARROWS[direction]}, mean over images", zero, descending=direction != "lower"
    )

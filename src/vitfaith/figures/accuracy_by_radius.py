"""The classifier's accuracy against the radius of attacks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from vitfaith.figures.accuracy_by_condition import COLUMNS, share_correct
from vitfaith.figures.drawing.data import INPUT, FigureData, Part, select, tidy
from vitfaith.figures.drawing.draw import canvas, count_text, facets, legend_above, shape_of, wrap_titles
from vitfaith.figures.drawing.radius import ByRadius, draw_series, label_radius, orders, with_radius
from vitfaith.figures.drawing.style import Style
from vitfaith.figures.registry import figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame


class AccuracyByRadius(ByRadius):
    """The class that counts as correct."""

    reference: Literal["label", "target"] = Field(
        "label", description="correct means the ground-truth label, or the class predicted for the clean image"
    )
    confidence: float = Field(0.95, gt=0.5, lt=1, description="level of the intervals")


def rows(data: FigureData, parameters: AccuracyByRadius) -> DataFrame:
    """One row per (condition, kind of attack) with the columns kind and eps."""
    import pandas as pd

    frame = select(data.table("predictions", COLUMNS), "predictions", **parameters.wanted_inputs())
    frame = tidy(frame, "predictions", [*INPUT, "image_id"])
    found = []
    for key, part in frame.groupby(list(INPUT), sort=True):
        correct = share_correct(part, parameters.reference, parameters.confidence)
        found.append(dict(zip(INPUT, key, strict=True)) | correct)
    return tidy(with_radius(pd.DataFrame(found), data, parameters), "predictions", [*INPUT, "kind"])


@figure(
    "accuracy_by_radius",
    needs=("predictions", "attacks"),
    reads=lambda _: {"predictions": Part(COLUMNS)},
    rows=rows,
    title="Accuracy against the radius of attacks",
    caption=(
        "Share of images classified as their ``{reference}`` against the radius of the attack, with Wilson intervals: "
        "one panel per model, one colour and marker per smoothing, one line per kind of attack. Behind a smoothing the class "
        "comes from the mean probability. Radius 0 is the clean image."
    ),
    category="robustness",
    parameters=AccuracyByRadius,
    citation="Wilson 1927",
)
def accuracy_by_radius(data: FigureData, parameters: AccuracyByRadius, style: Style) -> Figure:
    """Accuracy over the radius of attacks, for each smoothing and kind of attack."""
    table = rows(data, parameters)
    panels = facets(table, ("dataset", "model"), style)
    smoothings, kinds = orders(table)
    shape = shape_of(len(panels), 1 if style.columns == "one" else 2)
    extra = 12 + len(smoothings) * len(kinds)
    picture, axes = canvas(style, *shape, panel_mm=58, extra_mm=extra, sharey=True, sharex=True)
    for panel, (title, part) in zip(axes.flat, panels, strict=False):
        draw_series(panel, part, smoothings, kinds, style)
        panel.set_ylim(0, 1.02)
        panel.set_title(f"{title} ({count_text(part['n'])})")
    text = "accuracy" if parameters.reference == "label" else "share predicted as the clean image"
    label_radius(picture, parameters, style, text)
    legend_above(picture, axes.flat)
    wrap_titles(picture)
    return picture

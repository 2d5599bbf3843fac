"""What makes an attention map faithful: gradients, or all layers?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from vitfaith.errors import ConfigError
from vitfaith.figures.drawing.data import PANEL, FigureData
from vitfaith.figures.drawing.directions import ARROWS, direction_of
from vitfaith.figures.drawing.draw import (
    ZERO_LINE,
    blank,
    canvas,
    count_text,
    facets,
    legend_above,
    metric_text,
    points,
    shape_of,
    wrap_titles,
)
from vitfaith.figures.drawing.names import decimal
from vitfaith.figures.drawing.one_metric import metric_rows
from vitfaith.figures.drawing.style import MARKERS, Look, Style
from vitfaith.figures.registry import figure
from vitfaith.figures.saco_leaderboard import Leaderboard
from vitfaith.lazy import np
from vitfaith.registry import Ids

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame


class Ablation(Leaderboard):
    """Which four methods make the square."""

    last_layer: Annotated[str, Ids("explainers")] = Field("raw_attention", description="last layer, attention alone")
    all_layers: Annotated[str, Ids("explainers")] = Field("rollout", description="all layers, attention alone")
    last_layer_gradient: Annotated[str, Ids("explainers")] = Field(
        "attention_gradcam", description="last layer, attention weighted by its gradient"
    )
    all_layers_gradient: Annotated[str, Ids("explainers")] = Field(
        "transformer_mm", description="all layers, attention weighted by its gradient"
    )

    def square(self) -> dict[str, tuple[str, str]]:
        """Method → (layers, gradient)."""
        square = {
            self.last_layer: ("last layer", "attention alone"),
            self.all_layers: ("all layers", "attention alone"),
            self.last_layer_gradient: ("last layer", "with gradient"),
            self.all_layers_gradient: ("all layers", "with gradient"),
        }
        if len(square) < 4:
            raise ConfigError("last_layer, all_layers, last_layer_gradient, all_layers_gradient must be four methods")
        return square


def rows(data: FigureData, parameters: Ablation) -> DataFrame:
    """Four rows per (dataset, model) with columns layers and gradient."""
    square = parameters.square()
    wanted = {**parameters.wanted(), "method": tuple(square)}
    frame = metric_rows(data, parameters.metric, parameters.variant, wanted=wanted)
    layers, gradient = zip(*(square[str(m)] for m in frame["method"]), strict=True)
    return frame.assign(layers=layers, gradient=gradient)


@figure(
    "ablation_gradient_layers",
    needs=("summary",),
    rows=rows,
    title="Gradients and layers",
    caption=(
        "Mean of ``{metric}`` over images for four attention maps: the last layer (``{last_layer}``) or all layers "
        "(``{all_layers}``), without or with weighting by the gradient (``{last_layer_gradient}``, "
        "``{all_layers_gradient}``). A steep line means that the gradient helps, a gap between the lines that the layers "
        "do, lines that are not parallel that one depends on the other. Bars are confidence intervals of the mean."
    ),
    category="faithfulness",
    parameters=Ablation,
    citation="Wu et al. 2024 (arXiv 2404.01415), table 1",
)
def ablation_gradient_layers(data: FigureData, parameters: Ablation, style: Style) -> Figure:
    """Two by two: last or all layers, attention alone or weighted by its gradient."""
    table = rows(data, parameters)
    panels = facets(table, PANEL, style)
    shape = shape_of(len(panels), 2 if style.columns == "two" else 1)
    picture, axes = canvas(style, *shape, panel_mm=58, extra_mm=10, sharex=True, sharey=True)
    steps = ("attention alone", "with gradient")
    colours = style.colours(("last layer", "all layers"))
    for panel, (title, part) in zip(axes.flat, panels, strict=False):
        for i, (layers, colour) in enumerate(colours.items()):
            line = part[part["layers"] == layers].sort_values("gradient")
            at = np.array([steps.index(g) for g in line["gradient"]], dtype=float)
            look = Look(colour=colour, marker=MARKERS[i], line="solid" if i else (0, (4, 1.5)))
            points(panel, line, at + (0.03 if i else -0.03), look, vertical=True, line=True, label=layers)
            for x, (_, row) in zip(at, line.iterrows(), strict=True):
                if not row["compared"]:
                    continue
                side = 1 if x else -1
                others = part[(part["gradient"] == row["gradient"]) & (part["layers"] != layers)]["mean"]
                upper = bool((row["mean"] > others).all())
                text = f"{style.label(row['method'])}\n{decimal(row['mean'], 3)}"
                panel.annotate(
                    text,
                    (x + side * 0.09, row["mean"]),
                    ha="left" if x else "right",
                    va="bottom" if upper else "top",
                    fontsize=style.small,
                    color=colour,
                )
        if table["low"].min() < 0.25 * table["high"].max():
            panel.axhline(0, **ZERO_LINE)
        panel.set_xticks((0, 1), steps)
        panel.set_xlim(-0.95, 1.95)
        panel.grid(visible=False, axis="x")
        panel.set_title(f"{title} ({count_text(part['n'])})")
    arrow = ARROWS[direction_of(parameters.metric, parameters.directions)]
    text = metric_text(style, parameters.metric, str(table["variant"].iloc[0]))
    picture.supylabel(f"{text}{arrow}, mean over images", fontsize=style.font_size)
    legend_above(picture, axes.flat)
    blank(list(axes.flat)[len(panels) :])
    wrap_titles(picture)
    return picture

"""Certified accuracy against the certified radius."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vitfaith.figures.drawing.certified import CERTIFICATES, KEYS, Certified, curve_frame, draw_curves
from vitfaith.figures.drawing.data import CONDITION, FigureData, Part, select, tidy
from vitfaith.figures.drawing.draw import canvas, count_text, facets, legend_above, shape_of, wrap_titles
from vitfaith.figures.drawing.names import order_conditions
from vitfaith.figures.drawing.style import Style
from vitfaith.figures.registry import figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame


def rows(data: FigureData, parameters: Certified) -> DataFrame:
    """One row per (condition, radius): share of images whose certified class is the label, with a larger radius."""
    frame = data.table("certificates", (*CERTIFICATES, "label", "prediction"))
    wanted = {k: v for k, v in parameters.wanted().items() if k != "method"}
    frame = select(select(frame, "certificates", method=""), "certificates", **wanted)
    frame = tidy(frame, "certificates", KEYS)
    groups = []
    for key, part in frame.groupby([*CONDITION, "certificate", "sigma"], sort=True):
        right = (part["prediction"] == part["label"]).to_numpy(bool)
        names = dict(zip([*CONDITION, "certificate", "sigma"], key, strict=True))
        groups.append(({**names, "series": str(names["smoothing"])}, part, right))
    return curve_frame(groups, parameters)


@figure(
    "certified_accuracy",
    needs=("certificates",),
    reads=lambda _: {"certificates": Part((*CERTIFICATES, "label", "prediction"))},
    rows=rows,
    title="Certified accuracy",
    caption=(
        "Share of images whose class behind the smoothing is certified to be the label for every perturbation up to the l2 radius "
        "(Cohen, Rosenfeld and Kolter 2019), one colour per smoothing, with Wilson bands; images on which the certificate "
        "abstains are not counted as correct. Radii are in [0, 1] pixel units over all pixels."
    ),
    category="robustness",
    parameters=Certified,
    citation="Cohen et al. 2019, arXiv 1902.02918",
)
def certified_accuracy(data: FigureData, parameters: Certified, style: Style) -> Figure:
    """Certified accuracy over the radius, for each smoothing."""
    table = rows(data, parameters)
    panels = facets(table, ("dataset", "model", "attack", "explained"), style)
    sigma = {str(s): float(v) for s, v in zip(table["smoothing"], table["sigma"], strict=True)}
    series = sorted(order_conditions(table["series"]), key=lambda s: sigma[s])
    labels = {s: f"{style.label(s)}, σ = {sigma[s]:.3g}" for s in series}
    shape = shape_of(len(panels), 1 if style.columns == "one" else 2)
    picture, axes = canvas(style, *shape, panel_mm=54, extra_mm=12 + 2 * len(series), sharex=True, sharey=True)
    for panel, (title, part) in zip(axes.flat, panels, strict=False):
        draw_curves(panel, part, series, labels, style)
        panel.set_title(f"{title} ({count_text(part['n'])})")
    picture.supxlabel("certified l2 radius, [0, 1] pixel units", fontsize=style.font_size)
    picture.supylabel("certified accuracy", fontsize=style.font_size)
    legend_above(picture, axes.flat)
    for panel in list(axes.flat)[len(panels) :]:
        panel.set_axis_off()
    wrap_titles(picture)
    return picture

"""A score or a stability measure against the noise or the number of samples of a smoothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from vitfaith.errors import ConfigError
from vitfaith.figures.drawing.data import CONDITION, FigureData, tidy
from vitfaith.figures.drawing.draw import (
    ZERO_LINE,
    against_text,
    blank,
    canvas,
    count_text,
    facets,
    legend_above,
    legend_mm,
    metric_text,
    points,
    shape_of,
    wrap_titles,
)
from vitfaith.figures.drawing.one_metric import OneMetric, chosen_rows
from vitfaith.figures.drawing.style import Style
from vitfaith.figures.registry import figure
from vitfaith.lazy import np

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

SMOOTHINGS = ("smoothing", "kind", "mode", "noise", "sigma", "samples")
NONE = "none"


class MetricBySmoothing(OneMetric):
    """Over which setting."""

    over: Literal["sigma", "samples"] = Field("sigma", description="setting on the horizontal axis: sigma or samples")


def rows(data: FigureData, parameters: MetricBySmoothing) -> DataFrame:
    """One row per (condition, method) with the columns of the smoothing's settings.

    Raises:
        ConfigError: smoothings differ in more than the setting that is shown, or have no number for it.
    """
    frame = chosen_rows(data, parameters)
    settings = data.table("smoothings", SMOOTHINGS)[list(SMOOTHINGS)]
    found = frame.merge(settings, on="smoothing")
    if parameters.over == "samples":
        found = found[found["kind"] != NONE]
    noisy = found[found["kind"] != NONE]
    others = ["kind", "mode", "noise", "samples" if parameters.over == "sigma" else "sigma"]
    for setting in others:
        values = sorted(set(noisy[setting].map(str)))
        if len(values) > 1:
            raise ConfigError(
                f"figure metric_by_smoothing over {parameters.over}: the smoothings also differ in {setting} "
                f"({', '.join(values)}); name those to compare in 'smoothings'"
            )
    if noisy.empty or not np.isfinite(noisy[parameters.over]).all():
        raise ConfigError(
            f"figure metric_by_smoothing: no smoothing with a number for '{parameters.over}'; set 'smoothings'"
        )
    return tidy(found, "summary", [*CONDITION, "method"])


@figure(
    "metric_by_smoothing",
    needs=("summary", "smoothings"),
    rows=rows,
    title="Explanations against the strength of smoothing",
    caption=(
        "Mean of ``{metric}`` over images against ``{over}`` of the smoothing, with confidence intervals: one panel per "
        "attack, one colour and marker per method. Over the noise, 0 is the undefended model; over samples, which are "
        "nested, the axis is logarithmic."
    ),
    category="robustness",
    parameters=MetricBySmoothing,
    citation="Hu et al. 2024 (arXiv 2311.17983)",
)
def metric_by_smoothing(data: FigureData, parameters: MetricBySmoothing, style: Style) -> Figure:
    """A metric over σ or the number of samples, for each method and attack."""
    table = rows(data, parameters)
    methods = style.order(table["method"])
    looks = style.looks(methods)
    panels = facets(table, ("dataset", "model", "attack", "explained"), style)
    shape = shape_of(len(panels), 1 if style.columns == "one" else 3)
    picture, axes = canvas(
        style, *shape, panel_mm=48, extra_mm=10 + legend_mm(style, len(methods)), sharex=True, sharey=True
    )
    levels = sorted(set(table[parameters.over].astype(float)))
    # shifted a little by method, so that intervals do not hide each other
    step = 0.006 * (levels[-1] - levels[0] or 1.0)
    for panel, (title, part) in zip(axes.flat, panels, strict=False):
        for i, method in enumerate(methods):
            own = part[part["method"] == method].sort_values(parameters.over)
            if own.empty:
                continue
            at = own[parameters.over].to_numpy(dtype=np.float64)
            shift = i - (len(methods) - 1) / 2
            at = at * 1.02**shift if parameters.over == "samples" else at + shift * step
            points(panel, own, at, looks[method], vertical=True, line=True, label=style.label(method))
        if table["low"].min() < 0 < table["high"].max():
            panel.axhline(0, **ZERO_LINE)
        if parameters.over == "samples":
            panel.set_xscale("log", base=2)
            panel.minorticks_off()
        panel.set_xticks(levels, [f"{v:g}" for v in levels])
        panel.set_title(f"{title} ({count_text(part['n'])})")
    words = {"sigma": "standard deviation σ of the noise", "samples": "noise samples per image"}
    picture.supxlabel(f"{words[parameters.over]} (shifted a little where points meet)", fontsize=style.font_size)
    text = metric_text(style, parameters.metric, str(table["variant"].iloc[0])) + against_text(parameters.reference)
    picture.supylabel(f"mean {text}", fontsize=style.font_size)
    legend_above(picture, axes.flat)
    blank(list(axes.flat)[len(panels) :])
    wrap_titles(picture)
    return picture

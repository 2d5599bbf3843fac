"""Share of images whose top-k overlap is certified, against the certified radius."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from vitfaith.errors import ConfigError
from vitfaith.figures.drawing.certified import CERTIFICATES, KEYS, Certified, curve_frame, draw_curves
from vitfaith.figures.drawing.data import CONDITION, PANEL, FigureData, Part, select, tidy
from vitfaith.figures.drawing.draw import blank, canvas, count_text, facets, legend_above, shape_of, wrap_titles
from vitfaith.figures.drawing.style import Style
from vitfaith.figures.registry import figure
from vitfaith.order import natural
from vitfaith.registry import Ids

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame


class CertifiedTopK(Certified):
    """The certificates, and the meaning of the colours."""

    series: Literal["smoothing", "certificate", "beta", "k"] = Field(
        "smoothing", description="axis shown by colours; everything else must have one value"
    )
    certificates: Annotated[tuple[str, ...], Ids("certificates")] = Field(
        (), description="ids of certificates; empty: all"
    )
    k: int | None = Field(None, description="size of the top-k set; without it the smallest")
    beta: float | None = Field(None, description="overlap; without it the smallest")


def rows(data: FigureData, parameters: CertifiedTopK) -> DataFrame:
    """One row per (condition, method, certificate, k, beta, radius): share of images with a larger radius.

    Raises:
        ConfigError: an axis that colours do not show has several values, or none.
    """
    frame = data.table("certificates", CERTIFICATES)
    frame = tidy(frame[frame["method"] != ""], "certificates", KEYS)
    frame = select(frame, "certificates", **parameters.wanted(), certificate=parameters.certificates)
    for column in ("k", "beta"):
        asked = getattr(parameters, column)
        if parameters.series != column and len(frame):
            value = frame[column].min() if asked is None else asked
            if not (frame[column] == value).any():
                there = ", ".join(f"{v:g}" for v in sorted(frame[column].unique()))
                raise ConfigError(f"table 'certificates' has no {column} = {value:g}; there is {there}")
            frame = frame[frame[column] == value]
    fixed = [c for c in ("attack", "smoothing", "certificate") if c != parameters.series and frame[c].nunique() > 1]
    if fixed:
        several = ", ".join(sorted(map(str, frame[fixed[0]].unique())))
        raise ConfigError(
            f"table 'certificates' has several values of {fixed[0]} ({several}); name one, or set series to it"
        )
    groups = []
    by = [*CONDITION, "method", "certificate", "base", "bound", "k", "beta", "sigma"]
    for key, part in frame.groupby(by, sort=True):
        names = dict(zip(by, key, strict=True))
        value = names[parameters.series]
        text = f"{value:g}" if isinstance(value, float) else str(value)
        sound = bool(part["sound"].all())
        groups.append(({**names, "series": text, "sound": sound}, part, part["radius"].notna().to_numpy(bool)))
    return curve_frame(groups, parameters)


@figure(
    "certified_top_k",
    needs=("certificates",),
    reads=lambda _: {"certificates": Part(CERTIFICATES)},
    rows=rows,
    title="Certified top-k overlap",
    caption=(
        "Share of images whose smoothed map keeps the overlap β of its k leading patches for every perturbation up to the l2 radius, "
        "one panel per method, one colour per {series}, with Wilson bands. Dashed lines give no guarantee: their formula is "
        "not a lower bound, or sample means are used as expectations. Radii are in [0, 1] pixel units over all pixels."
    ),
    category="robustness",
    parameters=CertifiedTopK,
    citation="Hu et al. 2024 (arXiv 2311.17983); Levine et al. 2019 (arXiv 1905.12105)",
)
def certified_top_k(data: FigureData, parameters: CertifiedTopK, style: Style) -> Figure:
    """Certified top-k overlap over the radius, for each method."""
    table = rows(data, parameters)
    series = sorted(table["series"].unique(), key=natural)
    if parameters.series == "smoothing":
        sigma = {str(s): float(v) for s, v in zip(table["smoothing"], table["sigma"], strict=True)}
        series = sorted(series, key=lambda s: (sigma[s], natural(s)))
        labels = {s: f"{style.label(s)}, σ = {sigma[s]:.3g}" for s in series}
    elif parameters.series == "certificate":
        labels = {s: style.label(s) for s in series}
    else:
        labels = {s: f"{'β' if parameters.series == 'beta' else 'k'} = {s}" for s in series}
    groups = facets(table, PANEL, style)
    keys = [(method, title, part) for method in style.order(table["method"]) for title, part in groups]
    shape = shape_of(len(keys), 1 if style.columns == "one" else 3)
    picture, axes = canvas(style, *shape, panel_mm=42, extra_mm=14 + 2 * len(series), sharex=True, sharey=True)
    for panel, (method, title, whole) in zip(axes.flat, keys, strict=False):
        part = whole[whole["method"] == method]
        name = " · ".join([style.label(method), *([title] if len(groups) > 1 else [])])
        if part.empty:
            panel.set_title(name)
            continue
        draw_curves(panel, part, series, labels, style)
        panel.set_title(f"{name} ({count_text(part['n'])})")
    for panel in list(axes.flat)[max(0, len(keys) - shape[1]) : len(keys)]:
        panel.tick_params(axis="x", labelbottom=True)
    fixed = {"k": "k = {:g}", "beta": "β = {:g}"}
    told = [text.format(table[c].iloc[0]) for c, text in fixed.items() if parameters.series != c]
    picture.supxlabel("certified l2 radius, [0, 1] pixel units", fontsize=style.font_size)
    picture.supylabel(f"share of images ({', '.join(told)})", fontsize=style.font_size)
    legend_above(picture, axes.flat)
    blank(list(axes.flat)[len(keys) :])
    wrap_titles(picture)
    return picture

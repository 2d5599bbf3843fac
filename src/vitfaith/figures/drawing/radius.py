"""Shared by figures over the radius of attacks: the radius of each attack, its kind, and lines over the radius."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from vitfaith.errors import ConfigError
from vitfaith.figures.drawing.data import FigureData, Selection
from vitfaith.figures.drawing.draw import points
from vitfaith.figures.drawing.names import order_conditions
from vitfaith.figures.drawing.style import LINES, MARKERS, Look, Style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

ATTACKS = ("dataset", "model", "attack", "kind", "norm", "eps")
CLEAN = "clean"


class ByRadius(Selection):
    """Which attacks are drawn over their radius."""

    norm: str = Field("linf", description="norm of the radius: linf or l2; attacks bounded in another are left out")
    kinds: tuple[str, ...] = Field((), description="kinds of attack, as in the table attacks; empty: all")


def with_radius(frame: DataFrame, data: FigureData, parameters: ByRadius) -> DataFrame:
    """``frame`` with the columns kind and eps of each row's attack; the clean image has radius 0 and belongs to all kinds.

    Raises:
        ConfigError: no attack of the frame has a radius in this norm, or a wanted kind does not occur.
    """
    table = data.table("attacks", ATTACKS)[list(ATTACKS)].drop_duplicates()
    bounded = table[(table["norm"] == parameters.norm) & (table["kind"] != CLEAN)]
    if parameters.kinds:
        unknown = sorted(set(parameters.kinds) - set(bounded["kind"]))
        if unknown:
            raise ConfigError(
                f"table 'attacks' has no kind '{unknown[0]}' in {parameters.norm}; there is "
                f"{', '.join(sorted(set(bounded['kind']))) or 'none'}"
            )
        bounded = bounded[bounded["kind"].isin(parameters.kinds)]
    found = frame.merge(bounded, on=["dataset", "model", "attack"])
    if found.empty:
        raise ConfigError(
            f"table 'attacks' has no attack with a radius in {parameters.norm}; set norm, kinds or attacks"
        )
    clean = frame[frame["attack"] == CLEAN]
    everywhere = clean.merge(found[["dataset", "model", "kind"]].drop_duplicates(), on=["dataset", "model"])
    import pandas as pd

    return pd.concat([everywhere.assign(eps=0.0), found], ignore_index=True)


def draw_series(panel: Axes, part: DataFrame, smoothings: list[str], kinds: list[str], style: Style) -> None:
    """Means with intervals over the radius in levels of 1/255: a colour and marker a smoothing, a line a kind.

    With a single smoothing, colours and markers show the kinds.
    """
    one = len(smoothings) == 1 and len(kinds) > 1
    colours = style.colours(kinds if one else smoothings)
    series = [(s, k) for s in smoothings for k in kinds]
    step = part["eps"].max() * 255 * 0.012
    for i, (smoothing, kind) in enumerate(series):
        chosen = part[(part["smoothing"] == smoothing) & (part["kind"] == kind)].sort_values("eps")
        if chosen.empty:
            continue
        marker, line = smoothings.index(smoothing), kinds.index(kind)
        if one:
            marker, line = line, 0
        look = Look(
            colour=colours[kind if one else smoothing],
            marker=MARKERS[marker % len(MARKERS)],
            line=LINES[line % len(LINES)],
        )
        at = 255 * chosen["eps"].to_numpy(float) + (i - (len(series) - 1) / 2) * step
        label = " · ".join([style.label(smoothing)] * (not one) + [style.label(kind)] * (len(kinds) > 1))
        radii = sorted({float(f"{255 * e:.4g}") for e in part["eps"]})
        panel.set_xticks(radii, [f"{r:g}" for r in radii])
        points(panel, chosen, at, look, vertical=True, line=True, label=label, markersize=3.0)


def orders(table: DataFrame) -> tuple[list[str], list[str]]:
    """Smoothings and kinds of attack in their order."""
    return order_conditions(table["smoothing"]), order_conditions(table["kind"])


def label_radius(picture: Figure, parameters: ByRadius, style: Style, text: str) -> None:
    """The labels of both axes."""
    norm = {"linf": "l∞", "l2": "l2"}.get(parameters.norm, parameters.norm)
    picture.supxlabel(
        f"{norm} radius of the attack, levels of 1/255 (shifted a little where points meet)", fontsize=style.font_size
    )
    picture.supylabel(text, fontsize=style.font_size)

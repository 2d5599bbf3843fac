"""The charts of the page as Vega-Lite specifications, written with Altair; the page fills in rows and texts.

Each chart draws the data set ``rows``. A text ``%NAME%`` stands for words, or for a list, that only the page knows, such as the metric's name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import altair as alt

INK, SOFT, LINE = "#222222", "#5a5a5a", "#dddddd"
FIRST, SECOND = "#0072B2", "#D55E00"
"""Colours of two conditions, which their shapes distinguish too (Okabe & Ito 2008)."""

KEPT, BROKEN = "#d9e4ec", "#D55E00"
ROW = 28
"""Height of a method in pixels."""


def charts() -> dict[str, dict[str, Any]]:
    """Name → specification: leaderboard, differences, curves, pairs."""
    return {
        "leaderboard": finished(leaderboard()),
        "differences": finished(differences()),
        "curves": finished(curves()),
        "pairs": finished(pairs(), width=None),
    }


def finished(chart: alt.LayerChart | alt.FacetChart, width: str | None = "container") -> dict[str, Any]:
    """A chart in the page's fonts and colours, as plain values without a reference to a schema."""
    text = {"labelColor": INK, "titleColor": INK, "labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal"}
    if width:
        chart = chart.properties(width=width)
    chart = (
        chart.configure(font="system-ui, sans-serif", background="transparent")
        .configure_axis(**text, gridColor="#eeeeee", domainColor="#888888", labelLimit=170)
        .configure_legend(**text, orient="top", labelLimit=320, symbolSize=80)
        .configure_view(stroke=None)
    )
    found: dict[str, Any] = chart.to_dict()
    found.pop("$schema", None)
    return found


def _rows() -> Any:
    import altair as alt

    return alt.NamedData("rows")


def _methods() -> Any:
    """The vertical axis: one row per method, in the order of the rows."""
    import altair as alt

    axis = alt.Axis(title=None, grid=False, ticks=False, domain=False, labelPadding=6)
    return alt.Y(
        "method:N", sort=alt.EncodingSortField("place", op="min"), axis=axis, scale=alt.Scale(paddingInner=0.35)
    )


def _height() -> Any:
    import altair as alt

    return alt.Step(ROW, **{"for": "position"})


def leaderboard() -> alt.LayerChart | alt.FacetChart:
    """Means with their intervals, one or two conditions a method, and stars for differences from the baseline."""
    import altair as alt

    side = alt.Scale(domain=["%SIDES%"], range=[FIRST, SECOND])
    legend = alt.Legend(title=None)
    shared = {"y": _methods(), "yOffset": alt.YOffset("side:N", scale=alt.Scale(domain=["%SIDES%"]))}
    x = alt.X("low:Q", title="%VALUE%", scale=alt.Scale(zero=False, padding=14))
    tips = [
        alt.Tooltip("method:N", title="method"),
        alt.Tooltip("side:N", title="condition"),
        *(alt.Tooltip(f"{name}:Q", format=".3f") for name in ("mean", "low", "high")),
        alt.Tooltip("n:Q", title="images"),
        alt.Tooltip("stars:N", title="against %BASELINE%"),
    ]
    base = alt.Chart(_rows()).encode(**shared)
    colour = alt.Color("side:N", scale=side, legend=legend)
    shape = alt.Shape("side:N", scale=alt.Scale(domain=["%SIDES%"], range=["circle", "diamond"]), legend=legend)
    zero = alt.Chart(alt.InlineData([{"zero": 0}])).mark_rule(color="#999999", strokeDash=[3, 3])
    return alt.layer(
        zero.encode(x="zero:Q"),
        base.mark_rule(strokeWidth=2).encode(x=x, x2="high:Q", color=colour),
        base.mark_point(filled=True, size=75, opacity=1).encode(x="mean:Q", color=colour, shape=shape, tooltip=tips),
        base.mark_text(align="left", dx=5, fontSize=13, color=INK).encode(x="high:Q", text="stars:N"),
    ).properties(height=_height())


def differences() -> alt.LayerChart | alt.FacetChart:
    """Paired differences between two conditions, with their intervals and stars."""
    import altair as alt

    base = alt.Chart(_rows()).encode(y=_methods())
    x = alt.X("low:Q", title="%VALUE%", scale=alt.Scale(padding=14))
    tips = [
        alt.Tooltip("method:N", title="method"),
        *(alt.Tooltip(f"{name}:Q", format=".3f") for name in ("difference", "low", "high")),
        alt.Tooltip("n:Q", title="images"),
        alt.Tooltip("p_adjusted:Q", title="p (Holm)", format=".2g"),
    ]
    zero = alt.Chart(alt.InlineData([{"zero": 0}])).mark_rule(color=INK)
    return alt.layer(
        zero.encode(x="zero:Q"),
        base.mark_rule(strokeWidth=2, color=SOFT).encode(x=x, x2="high:Q"),
        base.mark_point(filled=True, size=70, color=INK, opacity=1, shape="square").encode(
            x="difference:Q", tooltip=tips
        ),
        base.mark_text(align="left", dx=5, fontSize=13, color=INK).encode(x="high:Q", text="stars:N"),
    ).properties(height=_height())


def curves() -> alt.LayerChart | alt.FacetChart:
    """Probability of the explained class against the share of the image that was replaced."""
    import altair as alt

    x = alt.X(
        "fraction:Q", title="share of the image replaced", axis=alt.Axis(format="%"), scale=alt.Scale(domain=[0, 1])
    )
    y = alt.Y("mean:Q", title="probability", scale=alt.Scale(domainMin=0, domainMax=alt.ExprRef("top")))
    colour = alt.Color("colour:N", scale=None, legend=None)
    base = alt.Chart(_rows()).encode(x=x, detail="method:N")
    tips = [
        alt.Tooltip("method:N", title="method"),
        alt.Tooltip("fraction:Q", title="replaced", format=".0%"),
        *(alt.Tooltip(f"{name}:Q", format=".3f") for name in ("mean", "low", "high")),
        alt.Tooltip("n:Q", title="images"),
    ]
    named = alt.Scale(domain=["%METHODS%"], range=["%DASHES%"])
    shapes = alt.Scale(domain=["%METHODS%"], range=["%SHAPES%"])
    return (
        alt.layer(
            base.mark_area(opacity=0.13).encode(y=alt.Y("low:Q"), y2="high:Q", color=colour),
            base.mark_line(strokeWidth=2).encode(
                y=y, color=colour, strokeDash=alt.StrokeDash("method:N", scale=named, legend=None)
            ),
            base.mark_point(filled=True, size=45, opacity=1).encode(
                y=y, color=colour, shape=alt.Shape("method:N", scale=shapes, legend=None), tooltip=tips
            ),
        )
        .properties(height=300)
        .add_params(alt.param(name="top", value=1))
    )


def pairs() -> alt.LayerChart | alt.FacetChart:
    """Broken pairs of groups, one cell per pair."""
    import altair as alt

    axis = alt.Axis(labelAngle=0, grid=False, ticks=False, domain=False)
    scale = alt.Scale(domain=["kept", "broken"], range=[KEPT, BROKEN])
    base = alt.Chart(_rows()).encode(
        x=alt.X("second:O", title="less salient group", axis=axis),
        y=alt.Y("first:O", title="more salient group", axis=axis),
    )
    tips = [alt.Tooltip(f"{name}:N") for name in ("first", "second", "state")]
    cells = base.mark_rect(stroke="white").encode(
        color=alt.Color("state:N", scale=scale, legend=alt.Legend(title=None)), tooltip=tips
    )
    signs = base.mark_text(text="×", fontSize=13).transform_filter("datum.state == 'broken'")
    return alt.layer(cells, signs).properties(width=alt.Step(24), height=alt.Step(24))

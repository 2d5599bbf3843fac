"""Pieces that figures share: canvases of the style's width, facets, points with intervals, legends."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from vitfaith.explained import COLUMN, in_short
from vitfaith.figures.drawing.names import order_conditions
from vitfaith.figures.drawing.rc import remember
from vitfaith.figures.drawing.style import MM_PER_INCH, Look, Style
from vitfaith.lazy import np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

ZERO_LINE: dict[str, Any] = {"color": "#444444", "linewidth": 0.8, "zorder": 1}


def canvas(
    style: Style, rows: int, columns: int, panel_mm: float, extra_mm: float = 0.0, **shared: Any
) -> tuple[Figure, np.ndarray]:
    """A figure of the style's width with rows × columns axes, each about ``panel_mm`` high.

    ``extra_mm`` is room for legends; ``shared`` goes to ``Figure.subplots``.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    height = (rows * panel_mm + extra_mm) / MM_PER_INCH
    figure = Figure(figsize=(style.width, height), dpi=style.dpi, layout="constrained")
    FigureCanvasAgg(figure)
    remember(figure)
    return figure, np.asarray(figure.subplots(rows, columns, squeeze=False, **shared))


def shape_of(count: int, most: int) -> tuple[int, int]:
    """(rows, columns) for ``count`` panels, at most ``most`` a row, rows as even as possible."""
    columns = min(count, most)
    rows = -(-count // columns)
    return rows, -(-count // rows)


def facets(rows: DataFrame, by: Sequence[str], style: Style) -> list[tuple[str, DataFrame]]:
    """(title, part) for each combination of ``by`` that occurs, in a fixed order.

    A column with one value everywhere is left out of the titles, unless all have one value: then the model stays.
    """
    varying = [c for c in by if rows[c].nunique() > 1] or ["model"]
    ranks = {c: {v: i for i, v in enumerate(order_conditions(rows[c]))} for c in by}
    keys = sorted(
        {tuple(k) for k in rows[list(by)].itertuples(index=False)},
        key=lambda k: [ranks[c][v] for c, v in zip(by, k, strict=True)],
    )
    found = []
    for key in keys:
        part = rows
        for column, value in zip(by, key, strict=True):
            part = part[part[column] == value]
        title = " · ".join(value_text(style, c, v) for c, v in zip(by, key, strict=True) if c in varying)
        found.append((title, part))
    return found


def value_text(style: Style, column: str, value: str) -> str:
    """Readable text for a value of a column of the condition."""
    return f"explained: {in_short(value)}" if column == COLUMN else style.label(value)


def count_text(n: Iterable[int]) -> str:
    """``n = 64`` or ``n = 60–64``; rows without an image (not compared) do not count where others have some."""
    numbers = [int(v) for v in n]
    numbers = [v for v in numbers if v] or numbers
    low, high = min(numbers), max(numbers)
    return f"n = {low}" if low == high else f"n = {low}–{high}"


def arms(mean: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """(2, N) lengths of error bars ≥ 0 from interval bounds; NaN where there is no interval."""
    return np.stack([np.maximum(mean - low, 0.0), np.maximum(high - mean, 0.0)])


def points(
    axes: Axes,
    part: DataFrame,
    at: np.ndarray,
    look: Look,
    *,
    vertical: bool = False,
    line: bool = False,
    label: str = "",
    **kwargs: Any,
) -> None:
    """Means of ``part`` with their intervals; ``at`` are the positions on the other axis."""
    import matplotlib

    size = matplotlib.rcParams["lines.linewidth"] / 1.2  # 1 in the context "paper"
    mean, low, high = (part[c].to_numpy(float) for c in ("mean", "low", "high"))
    error = arms(mean, low, high)
    settings = {
        "color": look.colour,
        "marker": look.marker,
        "linestyle": look.line if line else "none",
        "markersize": 4.0 * size,
        "linewidth": 1.1 * size,
        "elinewidth": 1.1 * size,
        "capsize": 1.6 * size,
        "capthick": 0.9 * size,
        "label": label or None,
        "zorder": 3,
    } | kwargs
    if vertical:
        axes.errorbar(at, mean, yerr=error, **settings)
    else:
        axes.errorbar(mean, at, xerr=error, **settings)


def legend_above(figure: Figure, axes: Iterable[Axes]) -> None:
    """One legend over all panels, without repeats, as wide as the figure allows; reference lines come last."""
    from matplotlib.lines import Line2D

    handles: dict[str, Any] = {}
    for panel in axes:
        found, labels = panel.get_legend_handles_labels()
        for handle, label in zip(found, labels, strict=True):
            handles.setdefault(label, handle)
    # Lines with intervals are containers; the plain lines of a figure that has containers are references.
    mixed = any(not isinstance(h, Line2D) for h in handles.values())
    order = sorted(handles, key=lambda label: mixed and isinstance(handles[label], Line2D))
    for columns in range(len(order), 0, -1):
        legend = figure.legend([handles[k] for k in order], order, loc="outside upper center", ncols=columns)
        if columns == 1 or legend.get_window_extent().width <= 0.98 * figure.bbox.width:
            return
        legend.remove()


def wrap_titles(figure: Figure) -> None:
    """Break titles that are wider than their panel, and axis labels that are longer than the figure.

    Titles break at `` · ``, ``: `` and `` (`` first, then at spaces, as labels do.
    """
    figure.draw_without_rendering()
    wrapped = False
    for panel in figure.axes:
        title = next((t for t in (panel._left_title, panel.title) if t.get_text()), None)  # type: ignore[attr-defined]
        if title is not None and panel.axison:
            _wrap(title, r"(?<= · )|(?<=: )|(?= \()", panel.get_window_extent().width, False)
            wrapped |= "\n" in title.get_text()
    for label, room, upright in (
        (figure._supxlabel, figure.bbox.width, False),  # type: ignore[attr-defined]
        (figure._supylabel, figure.bbox.height, True),  # type: ignore[attr-defined]
    ):
        if label is not None:
            _wrap(label, r"(?<= )", 0.98 * room, upright)
    # The layout needs two passes to make room for more lines over panels of a fixed shape; the file's is the second.
    if wrapped:
        figure.draw_without_rendering()


def _wrap(artist: Any, breaks: str, room: float, upright: bool) -> None:
    def fits(text: str) -> bool:
        artist.set_text(text)
        box = artist.get_window_extent()
        return bool((box.height if upright else box.width) <= room)

    whole = artist.get_text()
    lines: list[str] = []
    pieces = [p for part in re.split(breaks, whole) for p in ([part] if fits(part) else re.split(r"(?<= )", part))]
    for piece in pieces:
        if lines and fits((lines[-1] + piece).strip()):
            lines[-1] += piece
        else:
            lines.append(piece)
    artist.set_text(whole if fits(whole) else "\n".join(line.strip().removesuffix(" ·") for line in lines))


def legend_mm(style: Style, entries: int) -> float:
    """Room for the lines of a legend with ``entries`` names of methods, mm."""
    lines = -(-entries // (5 if style.columns == "two" else 2))
    return 6 + 0.55 * style.font_size * lines


def blank(axes: Iterable[Axes]) -> None:
    """Remove unused panels."""
    for panel in axes:
        panel.set_axis_off()


def metric_text(style: Style, metric: str, variant: str) -> str:
    """``SaCo (k=10)``."""
    return f"{style.label(metric)} ({variant})" if variant else style.label(metric)


def against_text(reference: str) -> str:
    """The reference of a stability measure, to follow its name; empty for a score."""
    return {"clean": " with the clean map, same smoothing", "undefended": " with the clean, undefended map"}.get(
        reference, ""
    )

"""Numbers on colours: one panel of a heat map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vitfaith.lazy import np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from numpy.typing import NDArray

    from vitfaith.figures.drawing.style import Style

EMPTY = "#CCCCCC"
"""Behind cells without a value."""


def heat_map(panel: Axes, values: NDArray[np.float64], **settings: Any) -> None:
    """seaborn's heat map of ``values`` (R, C) without its tick labels and colour bar; ``settings`` go to it.

    seaborn draws the whole figure, with its layout, to see whether its tick labels overlap. For figures of many panels that is most of the
    time, so meanwhile the figure has a canvas that draws nothing.
    """
    import seaborn
    from matplotlib.backend_bases import FigureCanvasBase
    from matplotlib.figure import Figure

    figure = panel.figure
    assert isinstance(figure, Figure)
    canvas = figure.canvas
    figure.set_canvas(FigureCanvasBase())
    try:
        seaborn.heatmap(values, cbar=False, xticklabels=False, yticklabels=False, ax=panel, **settings)
    finally:
        figure.set_canvas(canvas)


def heat_panel(
    panel: Axes,
    values: NDArray[np.float64],
    texts: NDArray[np.str_],
    style: Style,
    *,
    bound: float,
    rows: Sequence[str],
    columns: Sequence[str],
    turned: bool,
    font_size: float,
    blank_diagonal: bool = False,
) -> ScalarMappable:
    """Draw ``values`` (R, C) with ``texts`` (R, C) on a diverging scale from −``bound`` to ``bound``; NaN cells are grey.

    Args:
        rows, columns: labels.
        turned: whether the column labels stand at an angle.
        font_size: of the cells, pt.
        blank_diagonal: leave the diagonal white instead of grey.

    Returns:
        What a colour bar is made from.
    """
    from matplotlib.patches import Rectangle

    missing = ~np.isfinite(values)
    panel.set_facecolor(EMPTY)
    heat_map(
        panel,
        values,
        vmin=-bound,
        vmax=bound,
        cmap=style.diverging,
        mask=missing,
        annot=texts,
        fmt="",
        annot_kws={"fontsize": font_size, "linespacing": 1.1},
    )
    for i, j in np.argwhere(missing):
        if blank_diagonal and i == j:
            panel.add_patch(Rectangle((i, i), 1, 1, facecolor="white", linewidth=0))
        panel.text(j + 0.5, i + 0.5, texts[i, j], ha="center", va="center", fontsize=font_size, linespacing=1.1)
    panel.set_xticks(np.arange(len(columns)) + 0.5, columns)
    for label in panel.get_xticklabels():
        label.set(rotation=40 if turned else 0, ha="right" if turned else "center", rotation_mode="anchor")
    panel.set_yticks(np.arange(len(rows)) + 0.5, rows, rotation=0, va="center")
    panel.tick_params(length=0)
    panel.grid(visible=False)
    panel.spines[:].set_visible(False)
    image: ScalarMappable = panel.collections[0]
    return image

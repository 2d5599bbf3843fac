"""The style that all figures share: sizes, fonts, colour-blind safe colours, names and order of methods."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Literal

from pydantic import Field, field_validator

from vitfaith.errors import did_you_mean
from vitfaith.figures.drawing.names import label_of, order_methods
from vitfaith.figures.drawing.rc import settings
from vitfaith.registry import Parameters

BASELINE_COLOUR = "#767676"
"""Of random explanations, in every palette."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h")
LINES: tuple[str | tuple[int, tuple[float, ...]], ...] = (
    "solid",
    (0, (4, 1.2)),
    (0, (1, 1)),
    (0, (5, 1, 1, 1)),
)

PALETTES: dict[str, tuple[str, ...]] = {
    "okabe_ito": ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"),
    "tol_bright": ("#4477AA", "#EE6677", "#228833", "#CCBB44", "#66CCEE", "#AA3377"),
    "tol_muted": ("#332288", "#CC6677", "#117733", "#DDCC77", "#88CCEE", "#882255", "#44AA99", "#999933", "#AA4499"),
}
"""Qualitative colours that people with any colour vision can distinguish: Okabe & Ito 2008 (without the yellow, which
vanishes on white) and Paul Tol's schemes."""

SCALES: dict[str, float] = {"paper": 1.0, "notebook": 1.25, "talk": 1.875, "poster": 2.5}
"""Context → scale of lines and markers."""

SEABORN = ("rocket", "mako", "icefire", "vlag", "flare", "crest")
"""Colour maps that seaborn adds to matplotlib's."""

MM_PER_INCH = 25.4


class Look(Parameters):
    """How one method is drawn everywhere."""

    colour: str
    marker: str
    line: str | tuple[int, tuple[float, ...]]


class Style(Parameters):
    """Looks shared by all figures; no value here changes a number."""

    columns: Literal["one", "two"] = Field("two", description="width of the figures in columns of a page")
    one_column_mm: float = Field(88.0, ge=40, le=400, description="width of one column, mm")
    two_column_mm: float = Field(180.0, ge=80, le=600, description="width of two columns, mm")
    font: str = Field("DejaVu Sans", description="font family; DejaVu Sans comes with matplotlib")
    font_size: float = Field(7.5, ge=4, le=30, description="size of axis labels, pt; ticks are a little smaller")
    palette: Literal["okabe_ito", "tol_bright", "tol_muted"] = Field(
        "okabe_ito", description="colour-blind safe colours"
    )
    sequential: str = Field("viridis", description="matplotlib colour map of attribution maps")
    diverging: str = Field("PuOr", description="matplotlib colour map of signed values")
    context: Literal["paper", "notebook", "talk", "poster"] = Field(
        "paper", description="scale of lines and markers, named and sized as seaborn's contexts"
    )
    dpi: int = Field(200, ge=50, le=1200, description="resolution of the PNG, dots per inch")
    grid: bool = Field(True, description="light grid lines")
    method_order: tuple[str, ...] = Field((), description="methods in the order of colours and legends; others follow")
    labels: dict[str, str] = Field(default_factory=dict, description="name in the tables → text in the figures")

    @field_validator("sequential", "diverging")
    @classmethod
    def _known(cls, value: str) -> str:
        plain = value.removesuffix("_r")
        if plain in ("viridis", "PuOr", *SEABORN):
            return value
        from matplotlib import colormaps  # slow, so only for what is not known without it

        if value not in colormaps:
            known = [name for name in [*colormaps, *SEABORN] if not name.endswith("_r")]
            raise ValueError(f"unknown colour map{did_you_mean(value, known)}; take one of matplotlib's, as viridis")
        return value

    @property
    def width(self) -> float:
        """Width of a figure in inches."""
        return (self.one_column_mm if self.columns == "one" else self.two_column_mm) / MM_PER_INCH

    @property
    def small(self) -> float:
        """Size of tick labels and annotations, pt."""
        return 0.9 * self.font_size

    def label(self, name: str) -> str:
        """Text for a method, metric, model, attack … of the tables."""
        return self.labels.get(name) or label_of(name)

    def order(self, methods: Iterable[str]) -> list[str]:
        """``methods`` without repeats: first ``method_order``, then known methods, then by name."""
        return order_methods(methods, self.method_order)

    def looks(self, methods: Iterable[str]) -> dict[str, Look]:
        """Colour, marker and line of each method; random ones are grey and dashed.

        Methods of ``method_order`` keep their colour whichever others are present.
        """
        baselines = [m for m in self.order(methods) if is_baseline(m)]
        others = [m for m in self.order([*self.method_order, *methods]) if not is_baseline(m)]
        colours = PALETTES[self.palette]
        looks = {
            name: Look(
                colour=colours[i % len(colours)],
                marker=MARKERS[i % len(MARKERS)],
                line=LINES[i // len(colours) % len(LINES)],
            )
            for i, name in enumerate(others)
        }
        looks |= {name: Look(colour=BASELINE_COLOUR, marker="x", line=(0, (2, 1.5))) for name in baselines}
        return looks

    def colours(self, names: Iterable[str]) -> dict[str, str]:
        """A palette colour for each of ``names`` in the order given."""
        palette = PALETTES[self.palette]
        return {name: palette[i % len(palette)] for i, name in enumerate(names)}

    @contextmanager
    def context_of_drawing(self) -> Iterator[None]:
        """Matplotlib's defaults plus this style, whatever the user's matplotlibrc says; restored on leaving."""
        scaled = {"lines.linewidth": 1.2 * SCALES[self.context]}
        text = dict.fromkeys(("font.size", "axes.labelsize", "axes.titlesize", "figure.titlesize"), self.font_size)
        small = dict.fromkeys(("xtick.labelsize", "ytick.labelsize", "legend.fontsize"), self.small)
        fixed = {
            "font.family": [self.font, "DejaVu Sans"] if self.font != "DejaVu Sans" else ["DejaVu Sans"],
            "figure.dpi": self.dpi,
            "axes.grid": self.grid,
            "axes.axisbelow": True,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.edgecolor": "#444444",
            "axes.titlelocation": "left",
            "axes.titlepad": 4.0,
            "grid.color": "#E3E3E3",
            "grid.linewidth": 0.6,
            "axes.linewidth": 0.7,
            "xtick.major.width": 0.7,
            "ytick.major.width": 0.7,
            "xtick.major.size": 2.5,
            "ytick.major.size": 2.5,
            "legend.frameon": False,
            "figure.constrained_layout.w_pad": 0.03,
            "figure.constrained_layout.h_pad": 0.03,
        }
        with settings({**scaled, **text, **small, **fixed}):
            yield


def is_baseline(method: str) -> bool:
    """Whether a method's maps are random, by its name."""
    return method == "random" or method.startswith("random_")

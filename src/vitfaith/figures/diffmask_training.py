"""How the trainings of learned explainers went."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from vitfaith.figures.drawing.data import FigureData, select, tidy
from vitfaith.figures.drawing.draw import canvas, legend_above, wrap_titles
from vitfaith.figures.drawing.style import MARKERS, Style
from vitfaith.figures.registry import figure
from vitfaith.registry import Ids, Parameters

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

KEYS = ("model", "method", "step")
PANELS = (
    ("kl", "test_kl", "KL(clean ‖ masked), nats"),
    ("kept_share", "test_kept_share", "share of patches kept"),
    ("multiplier", None, "multiplier λ"),
)


class Trainings(Parameters):
    """Which trainings."""

    models: Annotated[tuple[str, ...], Ids("models")] = Field((), description="models to show; empty: all")
    methods: Annotated[tuple[str, ...], Ids("explainers")] = Field((), description="methods to show; empty: all")


def rows(data: FigureData, parameters: Trainings) -> DataFrame:
    """One row per (model, method, step)."""
    columns = (*KEYS, "margin", *(name for panel in PANELS for name in panel[:2] if name))
    frame = data.table("trainings", columns)
    return tidy(select(frame, "trainings", model=parameters.models, method=parameters.methods), "trainings", KEYS)


@figure(
    "diffmask_training",
    needs=("trainings",),
    rows=rows,
    title="Training of learned explainers",
    caption=(
        "Divergence between the answers to the clean and to the masked image, share of patches that the masks keep, and the "
        "multiplier of the constraint, against training steps: one line a training, means over the steps between two rows of its "
        "log, of sampled masks. Markers are the expected masks of held-out images. The dashed line is the margin: the multiplier "
        "rises where the divergence is above it."
    ),
    category="faithfulness",
    parameters=Trainings,
    citation="Nalmpantis et al. 2023",
)
def diffmask_training(data: FigureData, parameters: Trainings, style: Style) -> Figure:
    """KL, kept share and multiplier of DiffMask trainings against steps."""
    table = rows(data, parameters)
    runs = sorted({(str(m), str(e)) for m, e in table[["method", "model"]].itertuples(index=False)})
    several = len({method for method, _ in runs}) > 1
    colours = style.colours([f"{method} {model}" for method, model in runs])
    shape = (3, 1) if style.columns == "one" else (1, 3)
    picture, axes = canvas(style, *shape, panel_mm=46, extra_mm=10, sharex=True)
    for panel, (name, held_out, text) in zip(axes.flat, PANELS, strict=True):
        for i, (method, model) in enumerate(runs):
            line = table[(table["method"] == method) & (table["model"] == model)].sort_values("step")
            colour = colours[f"{method} {model}"]
            label = f"{style.label(method)}, {style.label(model)}" if several else style.label(model)
            panel.plot(line["step"], line[name], color=colour, linewidth=1.1, label=label)
            if held_out is not None:
                seen = line[line[held_out].notna()]
                panel.plot(
                    seen["step"],
                    seen[held_out],
                    color=colour,
                    linestyle="none",
                    marker=MARKERS[i % len(MARKERS)],
                    markersize=3,
                )
        if name == "kl":
            for margin in sorted(set(table["margin"])):
                panel.axhline(margin, color="#444444", linestyle="dashed", linewidth=0.8)
        panel.set_ylim(bottom=0, top=1.02 if name == "kept_share" else None)
        panel.set_title(text)
    picture.supxlabel("training step", fontsize=style.font_size)
    legend_above(picture, axes.flat)
    wrap_titles(picture)
    return picture

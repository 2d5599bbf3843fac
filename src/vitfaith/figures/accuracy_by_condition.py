"""Effect of attacks and smoothings on the classifier itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from vitfaith.errors import ConfigError
from vitfaith.figures.drawing.data import INPUT, FigureData, Part, Selection, select, tidy
from vitfaith.figures.drawing.draw import canvas, count_text, facets, legend_above, points, wrap_titles
from vitfaith.figures.drawing.names import order_conditions
from vitfaith.figures.drawing.style import MARKERS, Look, Style
from vitfaith.figures.registry import figure
from vitfaith.lazy import np

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

COLUMNS = (*INPUT, "image_id", "label", "target", "prediction", "target_probability")


class Accuracy(Selection):
    """Which conditions and what counts as correct."""

    reference: Literal["label", "target"] = Field(
        "label", description="correct means the ground-truth label, or the class predicted for the clean image"
    )
    confidence: float = Field(0.95, gt=0.5, lt=1, description="level of the intervals")


def share_correct(part: DataFrame, reference: str, confidence: float) -> dict[str, float]:
    """n, flagged, mean, low, high and confidence of the share of predictions that equal the column ``reference``.

    Unlabelled images (label −1) are flagged and in no share.

    Raises:
        ConfigError: no image has a label.
    """
    from vitfaith.statistics.clusters import cluster_codes, effective_size
    from vitfaith.statistics.intervals import wilson

    known = part[part[reference] >= 0]
    if known.empty:
        raise ConfigError("no image has a label, so there is no accuracy; set reference: target for this figure")
    n, hits = len(known), int((known["prediction"] == known[reference]).sum())
    codes = cluster_codes(known["cluster"]) if "cluster" in known else None
    right = np.asarray(known["prediction"] == known[reference], dtype=np.float64)
    low, high = wilson(hits, n, confidence, effective_size(right, codes))
    return {
        "n": n,
        "flagged": len(part) - n,
        "mean": hits / n,
        "low": low,
        "high": high,
        "confidence": confidence,
    }


def rows(data: FigureData, parameters: Accuracy) -> DataFrame:
    """One row per (condition, quantity), quantity being "accuracy" or "probability"."""
    import pandas as pd

    from vitfaith.statistics import confidence_interval

    frame = select(data.table("predictions", COLUMNS), "predictions", **parameters.wanted_inputs())
    frame = tidy(frame, "predictions", [*INPUT, "image_id"])
    found = []
    for key, part in frame.groupby(list(INPUT), sort=True):
        condition = dict(zip(INPUT, key, strict=True))
        correct = share_correct(part, parameters.reference, parameters.confidence)
        found.append({**condition, "quantity": "accuracy", **correct})
        values = part["target_probability"].to_numpy(float)
        groups = part["cluster"].tolist() if "cluster" in part else None
        mean, low, high = confidence_interval(values, confidence=parameters.confidence, clusters=groups)
        told = {"n": len(part), "flagged": 0, "mean": mean, "low": low, "high": high}
        found.append({**condition, "quantity": "probability", **told, "confidence": parameters.confidence})
    return pd.DataFrame(found)


@figure(
    "accuracy_by_condition",
    needs=("predictions",),
    reads=lambda _: {"predictions": Part(COLUMNS)},
    rows=rows,
    title="The classifier under attack and behind smoothing",
    caption=(
        "Share of images classified as their ``{reference}`` (Wilson intervals) and mean probability of the "
        "class predicted for the clean image (bootstrap intervals), by attack and smoothing, one row of panels a model. Where accuracy "
        "falls, maps of that class (``explained: clean_prediction``) explain one that the model no longer predicts."
    ),
    category="robustness",
    parameters=Accuracy,
    citation="Wilson 1927",
)
def accuracy_by_condition(data: FigureData, parameters: Accuracy, style: Style) -> Figure:
    """Accuracy and mean probability of the clean image's class by attack and smoothing."""
    table = rows(data, parameters)
    panels = facets(table, ("dataset", "model"), style)
    attacks, smoothings = order_conditions(table["attack"]), order_conditions(table["smoothing"])
    colours = style.colours(smoothings)
    picture, axes = canvas(style, len(panels), 2, panel_mm=46, extra_mm=10, sharey=True, sharex=True)
    texts = {
        "accuracy": "accuracy" if parameters.reference == "label" else "share predicted as the clean image",
        "probability": "mean probability of the clean image's class",
    }
    for line, (title, part) in zip(axes, panels, strict=True):
        for panel, (quantity, text) in zip(line, texts.items(), strict=True):
            for i, smoothing in enumerate(smoothings):
                chosen = part[(part["quantity"] == quantity) & (part["smoothing"] == smoothing)]
                shift = 0.0 if len(smoothings) == 1 else (i / (len(smoothings) - 1) - 0.5) * 0.36
                at = np.array([attacks.index(a) for a in chosen["attack"]]) + shift
                look = Look(colour=colours[smoothing], marker=MARKERS[i % len(MARKERS)], line="solid")
                points(panel, chosen, at, look, vertical=True, label=style.label(smoothing))
            panel.set_xticks(range(len(attacks)), [style.label(a) for a in attacks])
            panel.set_xlim(-0.5, len(attacks) - 0.5)
            panel.set_ylim(0, 1.02)
            panel.grid(visible=False, axis="x")
            panel.set_title(f"{title}: {text} ({count_text(part['n'])})")
    picture.supxlabel("attack", fontsize=style.font_size)
    picture.supylabel("share or probability", fontsize=style.font_size)
    legend_above(picture, axes.flat)
    wrap_titles(picture)
    return picture

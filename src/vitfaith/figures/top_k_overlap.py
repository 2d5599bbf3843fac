"""How much of a map's leading patches an attack leaves in place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from vitfaith.figures.drawing.data import FigureData, Selection
from vitfaith.figures.drawing.dodged import dodged_points
from vitfaith.figures.drawing.names import number_in
from vitfaith.figures.drawing.one_metric import metric_rows
from vitfaith.figures.drawing.style import Style
from vitfaith.figures.drawing.variants import OneVariant
from vitfaith.figures.registry import figure
from vitfaith.map_values import CHANCE
from vitfaith.registry import Ids

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame


class TopK(OneVariant, Selection):
    """Which size of the leading set and which reference."""

    metric: Annotated[str, Ids("stability")] = Field("top_k_overlap", description="id of the stability measure")
    variant: str | None = Field(None, description="its variant; without it the only one, or k=0.1")
    reference: Literal["clean", "undefended"] = Field(
        "clean", description="clean: same smoothing without attack; undefended: neither attack nor smoothing"
    )
    patches: Annotated[dict[str, int], Ids("models")] = Field(
        default_factory=dict, description="model → patches of its maps, for the chance level of an absolute k"
    )

    @property
    def preferred(self) -> str:
        """See :class:`OneVariant`."""
        return "k=0.1"


def rows(data: FigureData, parameters: TopK) -> DataFrame:
    """One row per (condition, method)."""
    return metric_rows(
        data,
        parameters.metric,
        parameters.variant,
        reference=parameters.reference,
        preferred=parameters.preferred,
        wanted=parameters.wanted(),
    )


def chance(variant: str, patches: int | None) -> float | None:
    """Expected overlap of two independent random sets of k of P patches, k/P; None where P is not known.

    A share (k < 1) is its own chance level up to the rounding of k to whole patches.
    """
    k = number_in(variant, "k")
    if k is None:
        return None
    if k < 1:
        return max(1, int(k * patches + 0.5)) / patches if patches else k
    return k / patches if patches else None


@figure(
    "top_k_overlap",
    needs=("summary",),
    rows=rows,
    title="Stability of the leading patches",
    caption=(
        "Share of a map's leading patches that it has in common with the map of the same image in the reference "
        "condition ``{reference}``, mean over images with confidence intervals; one panel per model and attack, one "
        "colour per smoothing. 1 means that the attack moves nothing; the dashed line is the chance level: the "
        "overlap expected of two independent random maps, k/P with P patches. ``random`` draws one map for each image, "
        "the same whatever the attack, so that its overlap is 1 and not k/P: stability alone is not faithfulness."
    ),
    category="robustness",
    parameters=TopK,
    citation="Hu et al. 2024 (arXiv 2311.17983); Ghorbani et al. 2019",
)
def top_k_overlap(data: FigureData, parameters: TopK, style: Style) -> Figure:
    """Overlap of the leading patches with the reference map, by method, attack and smoothing."""
    table = rows(data, parameters)
    variant = str(table["variant"].iloc[0])
    summary = data.table("summary", ("model", "metric", "variant", "mean"))
    levels = summary[(summary["metric"] == parameters.metric) & (summary["variant"] == f"{variant}{CHANCE}")]

    def level(panel: Axes, part: DataFrame) -> None:
        model = str(part["model"].iloc[0])
        stored = levels[levels["model"].astype(str) == model]["mean"]
        at = float(stored.mean()) if len(stored) else chance(variant, parameters.patches.get(model))
        if at is not None:
            panel.axvline(at, color="#444444", linewidth=0.9, linestyle=(0, (4, 2)), zorder=1, label="chance level")
        panel.set_xlim(0, 1.02)

    against = {"clean": "clean map, same smoothing", "undefended": "clean, undefended map"}[parameters.reference]
    text = f"{style.label(parameters.metric)} ({variant}) with the {against}, mean over images"
    return dodged_points(table, style, text, level)

"""Does another network, or another choice in the metric, order the methods alike?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from pydantic import Field

from vitfaith.errors import ConfigError, did_you_mean
from vitfaith.figures.drawing.data import (
    CONDITION,
    SCORES,
    FigureData,
    MethodsOfOneCondition,
    Part,
    pick_variant,
    select,
    tidy,
)
from vitfaith.figures.drawing.directions import Directions, direction_of
from vitfaith.figures.drawing.draw import arms, canvas, count_text, legend_above, wrap_titles
from vitfaith.figures.drawing.names import order_conditions
from vitfaith.figures.drawing.style import MARKERS, PALETTES, Style
from vitfaith.figures.drawing.variants import Known, ShowsVariants, check_variant, variant_text
from vitfaith.figures.registry import figure
from vitfaith.lazy import np
from vitfaith.order import natural
from vitfaith.registry import Ids

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

    from vitfaith.statistics.clusters import Codes

OWN = "each on its own network"
_ROW_MM = 4.6


class Reading(NamedTuple):
    """A metric, and the network that answers it."""

    metric: str
    model: str


class OrderAgreement(ShowsVariants, MethodsOfOneCondition):
    """Which orders are compared. One dataset: the first of several."""

    groups: dict[str, tuple[str, ...]] = Field(
        default_factory=dict,
        description="title of a panel → ids of metrics that differ in one choice, such as the fill; without it one panel of all metrics for which higher or lower is better",
    )
    own: Annotated[dict[str, str], Ids("metrics")] = Field(
        default_factory=dict,
        description="id of a metric → model on which it is in-domain; these models are compared with the others, metric by metric",
    )
    variants: Annotated[dict[str, str], Ids("metrics")] = Field(
        default_factory=dict, description="metric → its variant; without it the only one, or k=10"
    )
    directions: Directions
    confidence: float = Field(0.95, gt=0.5, lt=1, description="level of the intervals")
    resamples: int = Field(2000, ge=1, description="bootstrap resamples of the images")
    seed: int = Field(0, description="seed of the resamples")

    def check_variants(self, known: Known) -> None:
        """See :class:`~vitfaith.figures.drawing.variants.ShowsVariants`; also whether the experiment has the metrics."""
        grouped = dict.fromkeys(metric for group in self.groups.values() for metric in group)
        for metric in grouped or known.ranking:
            if metric not in known.scores:
                hint = did_you_mean(metric, known.scores) or f"; known: {', '.join(known.scores)}"
                raise ConfigError(f"groups: '{metric}' is not in the metrics of the experiment{hint}")
            asked, example = self.variants.get(metric), f"variants: {{{metric}: VARIANT}}"
            check_variant("variants", metric, known.scores[metric], asked, "k=10", example)


def _pairs(
    metrics: Sequence[str], models: Sequence[str], own: Mapping[str, str]
) -> Iterator[tuple[str, str, Reading, Reading]]:
    """(Kind of comparison, what is compared, one order, the other) of a panel."""
    short = _choices(metrics)
    plain = [m for m in models if m not in own.values()] if own else list(models)
    for model in plain:
        for one, other in combinations(metrics, 2):
            yield f"on {model}", f"{short[one]} / {short[other]}", Reading(one, model), Reading(other, model)
    owned = [m for m in metrics if m in own]
    for one, other in combinations(owned, 2):
        yield OWN, f"{short[one]} / {short[other]}", Reading(one, own[one]), Reading(other, own[other])
    for metric in owned:
        for model in plain:
            yield f"{model} / own network", short[metric], Reading(metric, model), Reading(metric, own[metric])
    if not own:
        for first, second in combinations(plain, 2):
            for metric in metrics:
                yield f"{first} / {second}", short[metric], Reading(metric, first), Reading(metric, second)


def _choices(metrics: Sequence[str]) -> dict[str, str]:
    """Id of a metric → the rest of it after the words that all ids share, such as ``blur`` for ``saco_blur``."""
    words = [metric.split("_") for metric in metrics]
    shared = 0
    while len(words) > 1 and all(len(one) > shared + 1 and one[shared] == words[0][shared] for one in words):
        shared += 1
    return {metric: "_".join(one[shared:]) for metric, one in zip(metrics, words, strict=True)}


def rows(data: FigureData, parameters: OrderAgreement) -> DataFrame:
    """One row per comparison: panel, group (kind), what, tau, low, high, n (images), methods, and variants of its panel.

    Images on which a compared method has no score in one of a panel's readings are left out of the panel.

    Raises:
        ConfigError: a metric or model has no scores, or there is nothing to compare.
    """
    import pandas as pd

    from vitfaith.statistics.orders import order_agreement

    frame = select(data.table("scores", SCORES), "scores", **parameters.wanted())
    frame = select(frame, "scores", dataset=order_conditions(frame["dataset"].astype(str))[0])
    frame = select(frame, "scores", explained=order_conditions(frame["explained"].astype(str))[0])
    frame = tidy(frame, "scores", (*CONDITION, "metric", "variant", "method", "image_id"))
    models = order_conditions(frame["model"].astype(str))
    select(frame, "scores", model=[*parameters.own.values()], metric=[*parameters.own])
    ranking = [
        m for m in sorted(frame["metric"].unique(), key=natural) if direction_of(m, parameters.directions) != "none"
    ]
    lower = [m for m in ranking if direction_of(m, parameters.directions) == "lower"]
    frame = frame.assign(value=frame["value"].where(~frame["metric"].isin(lower), -frame["value"]))
    found = []
    settings: dict[str, Any] = {name: getattr(parameters, name) for name in ("confidence", "resamples", "seed")}
    for panel, metrics in (parameters.groups or {"all metrics": tuple(ranking)}).items():
        pairs = list(_pairs(metrics, models, parameters.own))
        if not pairs:
            continue
        readings = list(dict.fromkeys(one for pair in pairs for one in pair[2:]))
        variants = _variants(frame, [one.metric for one in readings], parameters.variants)
        grids, codes = _grids(frame, readings, variants)
        shown = ", ".join(variant_text(variant, metric) for metric, variant in variants.items() if variant)
        for group, what, one, other in pairs:
            tau, low, high = order_agreement(grids[one], grids[other], codes=codes, **settings)
            images, methods = grids[one].shape
            found.append((panel, group, what, tau, low, high, images, methods, parameters.confidence, shown))
    if not found:
        raise ConfigError("there is one metric on one model, so no two orders; give groups of metrics, or more models")
    names = ["panel", "group", "what", "tau", "low", "high", "n", "methods", "confidence", "variants"]
    return pd.DataFrame(found, columns=names)


def _variants(frame: DataFrame, metrics: Sequence[str], asked: Mapping[str, str]) -> dict[str, str]:
    """Metric → the variant that is compared."""
    parts = {metric: select(frame, "scores", metric=metric) for metric in metrics}
    return {metric: pick_variant(part, "scores", asked.get(metric)) for metric, part in parts.items()}


def _grids(
    frame: DataFrame, readings: Sequence[Reading], variants: Mapping[str, str]
) -> tuple[dict[Reading, np.ndarray], Codes | None]:
    """Reading → scores (images, methods) of the images and methods that all have, and the clusters of the images."""
    from vitfaith.statistics.clusters import cluster_codes
    from vitfaith.statistics.common import COVERAGE, common_images

    tables = {}
    for reading in readings:
        part = select(frame, "scores", metric=reading.metric, model=reading.model)
        part = select(part, "scores", variant=variants[reading.metric])
        tables[reading] = part.pivot(index="method", columns="image_id", values="value")
    first = next(iter(tables.values()))
    shared = {reading: table.reindex_like(first).to_numpy(float) for reading, table in tables.items()}
    kept = common_images(np.logical_and.reduce([np.isfinite(values) for values in shared.values()]), COVERAGE)
    grids = {reading: values[kept.compared][:, kept.images].T for reading, values in shared.items()}
    if min(next(iter(grids.values())).shape) < 2:
        told = ", ".join(f"{one.metric} on {one.model}" for one in readings)
        raise ConfigError(f"fewer than two methods or images have scores of all of {told}")
    if "cluster" not in frame:
        return grids, None
    clusters = frame.drop_duplicates("image_id").set_index("image_id")["cluster"]
    return grids, cluster_codes(list(clusters.reindex(first.columns[kept.images])))


@figure(
    "order_agreement",
    needs=("scores",),
    reads=lambda p: {"scores": Part(SCORES, {"attack": p.attack, "smoothing": p.smoothing})},
    rows=rows,
    title="Agreement of the orders of methods",
    caption=(
        "Kendall's τ-b between two orders of methods, each by the means over the same images: of metrics that differ in one choice, on "
        "one network or each on its own, and of one metric on two networks. 1: the same order; 0: unrelated orders. Bars: percentile "
        "intervals, images (whole clusters) resampled for both orders together. Attack ``{attack}``, smoothing ``{smoothing}``."
    ),
    category="metrics",
    parameters=OrderAgreement,
    citation="Kendall 1945; Hesse et al. 2024 (arXiv 2407.11910)",
)
def order_agreement(data: FigureData, parameters: OrderAgreement, style: Style) -> Figure:
    """Kendall's τ between orders of methods with intervals, a panel per group of metrics, a colour per kind of comparison."""
    table = rows(data, parameters)
    panels = list(dict.fromkeys(table["panel"]))
    kinds = list(dict.fromkeys(table["group"]))
    parts = {name: table[table["panel"] == name].iloc[::-1] for name in panels}
    across = min(len(panels), 3 if style.columns == "two" else 1)
    down = -(-len(panels) // across)
    most = max(len(part) for part in parts.values())
    alike = len({tuple(part["what"]) for part in parts.values()}) == 1
    picture, axes = canvas(style, down, across, panel_mm=14 + _ROW_MM * most, extra_mm=4 + 4 * len(kinds), sharex=True)
    colours, shown = PALETTES[style.palette], list(axes.flat)
    for panel, (name, part) in zip(shown, parts.items(), strict=False):
        for place, (_, row) in enumerate(part.iterrows()):
            number = kinds.index(row["group"])
            value, low, high = (np.array([row[column]], float) for column in ("tau", "low", "high"))
            panel.errorbar(
                value, [place], xerr=np.nan_to_num(arms(value, low, high)), fmt=MARKERS[number % len(MARKERS)],
                color=colours[number % len(colours)], markersize=4, linewidth=1.2,
                label=_told(style, row["group"]),
            )  # fmt: skip
        panel.axvline(0, color="0.6", linewidth=0.8, zorder=0)
        panel.set(xlim=(-1.05, 1.05), ylim=(-0.6, most - 0.4), title=f"{style.label(name)} ({count_text(part['n'])})")
        named = not alike or panel in axes[:, 0]
        panel.set_yticks(range(len(part)), [_told(style, what) if named else "" for what in part["what"]])
        panel.grid(visible=style.grid, axis="x")
        panel.grid(visible=False, axis="y")
    for panel in shown[len(panels) :]:
        panel.set_visible(False)
    picture.supxlabel("Kendall's τ between two orders of methods", fontsize=style.font_size)
    legend_above(picture, shown)
    wrap_titles(picture)
    return picture


def _told(style: Style, text: str) -> str:
    """The labels of the ids in ``text``."""
    return " / ".join(
        f"on {style.label(part.removeprefix('on '))}" if part.startswith("on ") else style.label(part)
        for part in text.split(" / ")
    )

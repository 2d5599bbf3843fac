"""Effect of the law of the noise: certified radii in three norms, and accuracy and overlap under attack."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from vitfaith.errors import ConfigError
from vitfaith.figures.accuracy_by_radius import AccuracyByRadius
from vitfaith.figures.accuracy_by_radius import rows as accuracy_rows
from vitfaith.figures.drawing.certified import CERTIFICATES, KEYS, reaching
from vitfaith.figures.drawing.data import CONDITION, FigureData, select, tidy
from vitfaith.figures.drawing.draw import canvas, count_text, legend_above, wrap_titles
from vitfaith.figures.drawing.names import order_conditions, order_methods
from vitfaith.figures.drawing.one_metric import metric_rows
from vitfaith.figures.drawing.radius import ByRadius, draw_series, with_radius
from vitfaith.figures.drawing.style import LINES, Style, is_baseline
from vitfaith.figures.drawing.variants import OneVariant
from vitfaith.figures.registry import figure
from vitfaith.lazy import np
from vitfaith.registry import Ids

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

NORMS = {"l1": "l1", "radius": "l2", "linf": "l∞"}
"""Column of the certified radius → norm."""

ATTACKED = "attacked"
PREDICTION, MAP = "prediction", "map"
_INPUT = ("dataset", "model")


class NoiseCompared(OneVariant, ByRadius):
    """The certificates, the maps, and the attacks to draw. One dataset, model and method: the first of several."""

    certificates: Annotated[tuple[str, ...], Ids("certificates")] = Field(
        (), description="ids of certificates; with several, the largest radius counts; empty: all that give a guarantee"
    )
    certified: Annotated[str, Ids("attacks")] = Field("clean", description="attack whose images are certified")
    k: int | None = Field(None, description="size of the certified top-k set; without it the smallest")
    beta: float | None = Field(None, description="certified overlap; without it the smallest")
    metric: Annotated[str, Ids("stability")] = Field(
        "top_k_overlap",
        description="id of the stability measure under attack, with the clean map behind the same noise",
    )
    variant: str | None = Field(None, description="its variant; without it the only one, or k=0.2")
    steps: int = Field(120, ge=5, description="points along a certified curve")
    confidence: float = Field(0.95, gt=0.5, lt=1, description="level of the intervals of shares")

    @property
    def preferred(self) -> str:
        """See :class:`OneVariant`."""
        return "k=0.2"


def rows(data: FigureData, parameters: NoiseCompared) -> DataFrame:
    """One row per (part, panel, smoothing, radius ``at``): part is "prediction" or "map", panel a norm or "attacked".

    Raises:
        ConfigError: nothing that is a guarantee is certified, or there is no such k, overlap, condition or certificate.
    """
    import pandas as pd

    frame = data.table("certificates", (*CERTIFICATES, "noise", "l1", "linf", "label", "prediction"))
    frame = tidy(frame, "certificates", KEYS)
    wanted = {key: value for key, value in parameters.wanted().items() if key not in ("attack", "smoothing", "method")}
    frame = select(frame, "certificates", **wanted, attack=parameters.certified, certificate=parameters.certificates)
    frame = frame[frame["sound"].astype(bool)]
    if parameters.smoothings:
        frame = frame[frame["smoothing"].isin(parameters.smoothings)]
    if frame.empty:
        raise ConfigError("table 'certificates' has no guarantee for these settings; name others in 'certificates'")
    place = {c: order_conditions(frame[c].astype(str))[0] for c in (*_INPUT, "explained")}
    frame = select(frame, "certificates", **place)
    method = _method(frame, parameters)
    found = [*_certified(frame, method, parameters), *_attacked(data, parameters, place, method)]
    return pd.concat(found, ignore_index=True).assign(method=method, **place)


def _method(frame: DataFrame, parameters: NoiseCompared) -> str:
    """The first requested method, else the first method in the table other than random ones."""
    if parameters.methods:
        return parameters.methods[0]
    present = [m for m in order_methods(frame["method"]) if m]
    if not present:
        raise ConfigError("table 'certificates' has no certificate of a map; name one in the experiment")
    return next((m for m in present if not is_baseline(m)), present[0])


def _certified(frame: DataFrame, method: str, parameters: NoiseCompared) -> Iterator[DataFrame]:
    """Curves of the share of images with a larger radius, one frame per part, norm and smoothing."""
    import pandas as pd

    classes = frame[frame["method"] == ""]
    right = (classes["prediction"] == classes["label"]).to_numpy(bool)
    classes = classes.assign(**{column: np.where(right, classes[column], 0.0) for column in NORMS})
    maps = select(frame, "certificates", method=method)
    for column in ("k", "beta"):
        asked = getattr(parameters, column)
        value = maps[column].min() if asked is None else asked
        if not (maps[column] == value).any():
            there = ", ".join(f"{v:g}" for v in sorted(maps[column].unique()))
            raise ConfigError(f"table 'certificates' has no {column} = {value:g}; there is {there}")
        maps = maps[maps[column] == value]
    for part, chosen in ((PREDICTION, classes), (MAP, maps)):
        keys = ["smoothing", "noise", "image_id", *(["cluster"] if "cluster" in chosen else [])]
        best = chosen.groupby(keys, sort=True, dropna=False)[list(NORMS)].max().reset_index()
        for column, norm in NORMS.items():
            sizes = best[column].to_numpy(float)
            some = sizes[np.isfinite(sizes) & (sizes > 0)]
            high = some.max() * 1.1 if len(some) else 1.0
            low = min(some.min() / 1.5 if len(some) else 0.1, high / 12)  # an axis of a decade at least has a label
            radii = np.geomspace(low, high, parameters.steps)
            for (smoothing, noise), own in best.groupby(["smoothing", "noise"], sort=True):
                told = own.assign(radius=own[column])
                curve = reaching(told, np.ones(len(own), bool), radii, parameters.confidence)
                flagged = int(np.isnan(own[column].to_numpy(float)).sum())
                shared = {"part": part, "panel": norm, "smoothing": smoothing, "noise": noise, "kind": ""}
                counts = {"n": len(own) - flagged, "flagged": flagged, "confidence": parameters.confidence}
                yield pd.DataFrame({**shared, **counts, "attack": parameters.certified, "at": radii, **curve})


def _attacked(data: FigureData, parameters: NoiseCompared, place: dict[str, str], method: str) -> Iterator[DataFrame]:
    """Accuracy, and overlap with the clean map behind the same smoothing, over the radius of attacks."""
    shared = {name: getattr(parameters, name) for name in ("norm", "kinds", "attacks", "smoothings")}
    inputs = {f"{c}s": (place[c],) for c in _INPUT}
    accuracy = accuracy_rows(data, AccuracyByRadius(**shared, **inputs, confidence=parameters.confidence))
    wanted: dict[str, str | Sequence[str]] = {
        **place,
        "method": method,
        "attack": parameters.attacks,
        "smoothing": parameters.smoothings,
    }
    overlap = metric_rows(data, parameters.metric, parameters.variant, "clean", parameters.preferred, wanted)
    overlap = tidy(with_radius(overlap, data, parameters), "summary", [*CONDITION, "method", "kind"])
    for part, found in ((PREDICTION, accuracy), (MAP, overlap)):
        kept = ["smoothing", "attack", "kind", "eps", "n", "flagged", "confidence", "mean", "low", "high"]
        yield found[kept].rename(columns={"eps": "at"}).assign(part=part, panel=ATTACKED)


@figure(
    "noise_compared",
    needs=("certificates", "predictions", "summary", "attacks"),
    rows=rows,
    title="Certificates and attacks by the law of the noise",
    caption=(
        "Smoothings that differ in the law of their noise. Left, share of images with a larger certified radius in l1, l2 and l∞ "
        "(logarithmic axes, [0, 1] pixel units over all pixels, Wilson bands), of several certificates the largest radius: above for "
        "a certified class that is the label, below for the overlap of the leading patches of the map. Right, under attack: "
        "accuracy (Wilson intervals), and ``{metric}`` with the map of the clean image behind the same smoothing."
    ),
    category="robustness",
    parameters=NoiseCompared,
    citation="Hu et al. 2024 (arXiv 2311.17983); Yang et al. 2020 (arXiv 2002.08118)",
)
def noise_compared(data: FigureData, parameters: NoiseCompared, style: Style) -> Figure:
    """Certified shares in l1, l2 and l∞ and values under attack, one colour per smoothing."""
    table = rows(data, parameters)
    series = order_conditions(table["smoothing"])
    panels = [(part, panel) for part in (PREDICTION, MAP) for panel in (*NORMS.values(), ATTACKED)]
    shape = (4, 2) if style.columns == "one" else (2, 4)
    picture, axes = canvas(style, *shape, panel_mm=50, extra_mm=10 + 3 * len(series))
    method = style.label(str(table["method"].iloc[0]))
    for panel, (part, name) in zip(axes.flat, panels, strict=True):
        chosen = table[(table["part"] == part) & (table["panel"] == name)]
        subject = "accuracy" if part == PREDICTION else "top-k overlap"
        if name == ATTACKED:
            told = chosen.rename(columns={"at": "eps"})
            draw_series(panel, told, series, order_conditions(told["kind"]), style)
            panel.set_xlabel(f"{'l2' if parameters.norm == 'l2' else 'l∞'} attack, levels of 1/255")
            panel.set_title(f"{subject} under attack ({count_text(chosen['n'])})")
            panel.set_ylabel("share of images" if part == PREDICTION else f"mean overlap, {method}")
        else:
            _draw_curves(panel, chosen, series, style)
            panel.set_xlabel(f"certified {name} radius")
            panel.set_title(
                f"certified {subject} ({count_text(chosen['n'])})" if len(chosen) else f"certified {subject}"
            )
            if panel in axes[:, 0]:
                panel.set_ylabel("share of images")
        panel.set_ylim(0, 1.02)
    legend_above(picture, axes.flat)
    wrap_titles(picture)
    return picture


def _draw_curves(panel: Axes, part: DataFrame, series: list[str], style: Style) -> None:
    """Step lines with bands over a logarithmic radius, a colour and a line a smoothing."""
    from matplotlib.ticker import NullFormatter

    colours = style.colours(series)
    for name in series:
        line = part[part["smoothing"] == name].sort_values("at")
        if line.empty:
            continue
        at, mean, low, high = (line[c].to_numpy(float) for c in ("at", "mean", "low", "high"))
        shown = mean > 0  # a band around nothing certified would hide the others
        panel.fill_between(
            at[shown], low[shown], high[shown], color=colours[name], alpha=0.13, linewidth=0, step="post"
        )
        look = LINES[series.index(name) % len(LINES)]
        panel.step(at, mean, where="post", color=colours[name], linestyle=look, linewidth=1.2, label=style.label(name))
    panel.set_xscale("log")
    panel.xaxis.set_minor_formatter(NullFormatter())

"""Shared by figures of certificates: the share of images whose certified radius reaches r, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import Field

from vitfaith.figures.drawing.data import CONDITION, Selection
from vitfaith.figures.drawing.style import LINES, Style
from vitfaith.lazy import np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame

CERTIFICATES = (
    *CONDITION,
    "image_id",
    "method",
    "certificate",
    "base",
    "bound",
    "k",
    "beta",
    "sigma",
    "alpha",
    "radius",
    "sound",
)
KEYS = (*CONDITION, "image_id", "method", "certificate", "base", "bound", "k", "beta", "sigma")


class Certified(Selection):
    """How curves of certified shares are read."""

    steps: int = Field(60, ge=5, description="points along a certified curve")
    confidence: float = Field(0.95, gt=0.5, lt=1, description="level of the intervals")


def reaching(part: DataFrame, holds: np.ndarray, radii: np.ndarray, confidence: float) -> dict[str, np.ndarray]:
    """Share of the rows that hold with a certified radius above each of ``radii``, with Wilson intervals.

    Above and not at: a radius of 0 certifies nothing, so a curve begins below 1 where images are left out. A NaN radius
    (a constant or undefined map) counts as not certified.
    """
    sizes = part["radius"].to_numpy(float)
    from vitfaith.statistics.clusters import cluster_codes, effective_size
    from vitfaith.statistics.intervals import wilson

    codes = cluster_codes(part["cluster"]) if "cluster" in part else None
    reached = [holds & (sizes > r) for r in radii]
    intervals = np.array(
        [wilson(int(h.sum()), len(part), confidence, effective_size(h.astype(float), codes)) for h in reached]
    )
    return {"mean": np.array([h.sum() / len(part) for h in reached]), "low": intervals[:, 0], "high": intervals[:, 1]}


def curve_frame(groups: Sequence[tuple[dict[str, object], DataFrame, np.ndarray]], parameters: Certified) -> DataFrame:
    """One row per (group, radius); all groups on one grid of radii up to the largest certified one."""
    import pandas as pd

    largest = max([float(np.nanmax(p["radius"], initial=0.0)) for _, p, _ in groups], default=0.0) or 1.0
    radii = np.linspace(0, 1.02 * largest, parameters.steps)
    parts = []
    for key, part, holds in groups:
        curve = reaching(part, holds, radii, parameters.confidence)
        flagged = int(np.isnan(part["radius"].to_numpy(float)).sum())
        shared = {"n": len(part) - flagged, "flagged": flagged, "confidence": parameters.confidence}
        parts.append(pd.DataFrame({**key, **shared, "at": radii, **curve}))
    return pd.concat(parts, ignore_index=True)


def draw_curves(panel: Axes, part: DataFrame, series: Sequence[str], labels: dict[str, str], style: Style) -> None:
    """A step line with a band for each value of the column ``series``; dashed where nothing is guaranteed."""
    colours = style.colours(series)
    for name in series:
        line = part[part["series"] == name].sort_values("at")
        if line.empty:
            continue
        x = line["at"].to_numpy(float)
        last = int((line["mean"] > 0).sum())  # curves fall; a band around nothing certified would hide the others
        low, high = (np.array(line[c], float)[: last + 1] for c in ("low", "high"))
        if last:
            high[last:], low[last:] = 0, 0
            panel.fill_between(x[: last + 1], low, high, color=colours[name], alpha=0.13, linewidth=0, step="post")
        sound = "sound" not in line or bool(line["sound"].all())
        panel.step(
            x,
            line["mean"].to_numpy(float),
            where="post",
            color=colours[name],
            linestyle="solid" if sound else LINES[1],
            linewidth=1.2,
            label=labels[name] if sound else f"{labels[name]} (no guarantee)",
        )
    panel.set_ylim(0, 1.02)
    panel.set_xlim(left=0)

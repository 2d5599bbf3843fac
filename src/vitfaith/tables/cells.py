"""The leaderboard behind the LaTeX and Markdown formats: which numbers stand where, which are best, which are marked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from vitfaith.errors import ArtifactError, InputError

if TYPE_CHECKING:
    from pandas import DataFrame

LEVELS = ((0.001, "***"), (0.01, "**"), (0.05, "*"))
"""Adjusted p-value below … → mark."""

NEEDED = ("method", "metric", "variant", "n", "mean", "low", "high")


@dataclass(frozen=True)
class Cell:
    """Mean of one method by one metric.

    Attributes:
        mean, low, high: mean over images and bounds of its confidence interval (NaN where there is none).
        n: images with a value.
        flagged: images without one.
        best: whether no method of the column has a better mean.
        mark: "", "*", "**" or "***" for a difference from the baseline.
    """

    mean: float
    low: float
    high: float
    n: int
    flagged: int
    best: bool
    mark: str


@dataclass(frozen=True)
class Leaderboard:
    """Methods × columns of cells; a cell is None where a method was not scored.

    Attributes:
        methods: rows, best first by the first column.
        columns: (metric, variant) of each column.
        directions: "higher" or "lower" for each column.
        cells: (row, column) → cell.
        confidence: level of the intervals, or None where the summary does not say.
    """

    methods: tuple[str, ...]
    columns: tuple[tuple[str, str], ...]
    directions: tuple[str, ...]
    cells: Mapping[tuple[int, int], Cell]
    confidence: float | None


def mark_of(p: float) -> str:
    """The mark of an adjusted p-value; nothing for NaN."""
    return next((mark for level, mark in LEVELS if p < level), "")


def leaderboard(
    summary: DataFrame,
    directions: Mapping[str, Literal["higher", "lower"]],
    *,
    statistics: DataFrame | None = None,
    baseline: str = "random",
    order: Sequence[str] | None = None,
) -> Leaderboard:
    """Arrange one condition's summary as methods × metrics.

    Args:
        summary: rows of schema ``SUMMARY`` for a single condition, one per (method, metric, variant).
        directions: metric → whether higher or lower means are better; every metric must be there.
        statistics: paired comparisons of the same condition with columns method, opponent, metric, variant, p_adjusted;
            without it nothing is marked.
        baseline: opponent that marks refer to.
        order: methods from top to bottom; without it the best mean of the first column is on top.

    Raises:
        ArtifactError: a column is missing, the summary is empty, or two rows share method, metric and variant (more
            than one condition).
        InputError: a metric has no direction, or ``order`` is not the methods of the summary.
    """
    missing = [c for c in NEEDED if c not in summary.columns]
    if missing:
        raise ArtifactError(f"summary has no column '{missing[0]}'; run the tables stage again")
    if summary.empty:
        raise ArtifactError("summary is empty; the condition was not scored")
    rows = summary.astype(dict.fromkeys(("method", "metric", "variant"), "str"))
    repeated = rows.duplicated(["method", "metric", "variant"])
    if repeated.any():
        row = rows[repeated].iloc[0]
        raise ArtifactError(f"summary has two rows for {row['method']}, {row['metric']}; select one condition")
    columns = tuple(
        sorted({(str(m), str(v)) for m, v in zip(rows["metric"], rows["variant"], strict=True)}, key=_natural)
    )
    unknown = [metric for metric, _ in columns if directions.get(metric) not in ("higher", "lower")]
    if unknown:
        raise InputError(f"directions lacks '{unknown[0]}'; say whether higher or lower is better")
    facts = {(r["method"], (r["metric"], r["variant"])): r for _, r in rows.iterrows()}
    best = {column: _best(facts, column, directions[column[0]]) for column in columns}
    marks = _marks(statistics, baseline)
    methods = _order(rows["method"], facts, columns[0], directions[columns[0][0]], order)
    cells = {
        (i, j): Cell(
            mean=float(facts[method, column]["mean"]),
            low=float(facts[method, column]["low"]),
            high=float(facts[method, column]["high"]),
            n=int(facts[method, column]["n"]),
            flagged=int(facts[method, column].get("flagged", 0)),
            best=bool(facts[method, column]["mean"] == best[column]),
            mark="" if method == baseline else marks.get((method, column), ""),
        )
        for i, method in enumerate(methods)
        for j, column in enumerate(columns)
        if (method, column) in facts
    }
    levels = set(rows["confidence"].dropna()) if "confidence" in rows else set()
    confidence = float(levels.pop()) if len(levels) == 1 else None
    return Leaderboard(methods, columns, tuple(directions[m] for m, _ in columns), cells, confidence)


def _natural(column: tuple[str, str]) -> tuple[str, int, str]:
    metric, variant = column
    digits = "".join(c for c in variant if c.isdigit())
    return metric, int(digits) if digits else 0, variant


def _best(facts: Mapping, column: tuple[str, str], direction: str) -> float:
    means = np.array([float(row["mean"]) for (_, where), row in facts.items() if where == column])
    if np.isnan(means).all():
        return float("nan")
    return float(np.nanmax(means) if direction == "higher" else np.nanmin(means))


def _marks(statistics: DataFrame | None, baseline: str) -> dict[tuple[str, tuple[str, str]], str]:
    if statistics is None:
        return {}
    rows = statistics[statistics["opponent"].astype("str") == baseline]
    return {
        (str(r["method"]), (str(r["metric"]), str(r["variant"]))): mark_of(float(r["p_adjusted"]))
        for _, r in rows.iterrows()
    }


def _order(
    methods: Iterable[str], facts: Mapping, column: tuple[str, str], direction: str, order: Sequence[str] | None
) -> tuple[str, ...]:
    names = sorted(set(methods))
    if order is not None:
        if sorted(order) != names:
            raise InputError(f"order must list each method of the summary once: {', '.join(names)}")
        return tuple(order)
    sign = -1.0 if direction == "higher" else 1.0

    def rank(method: str) -> tuple[bool, float]:
        mean = float(facts[method, column]["mean"]) if (method, column) in facts else float("nan")
        return bool(np.isnan(mean)), 0.0 if np.isnan(mean) else sign * mean

    return tuple(sorted(names, key=rank))


def counts(board: Leaderboard) -> tuple[int, int, int]:
    """(smallest n, largest n, flagged values) over all cells."""
    n = [cell.n for cell in board.cells.values()]
    return min(n), max(n), sum(cell.flagged for cell in board.cells.values())


def notes(board: Leaderboard, baseline: str) -> str:
    """Plain sentences under a table: n, the intervals, flagged values, what the marks mean."""
    low, high, flagged = counts(board)
    images = f"n = {low} images" if low == high else f"n = {low} to {high} images"
    level = f"; {100 * board.confidence:g} % confidence intervals in brackets" if board.confidence is not None else ""
    text = f"{images} a mean{level}; best mean in bold."
    if flagged:
        text += f" {flagged} values are flagged (constant map, NaN or undefined score) and in no mean."
    if any(cell.mark for cell in board.cells.values()):
        text += f" Paired test against {baseline}, Holm-adjusted: * p < 0.05, ** p < 0.01, *** p < 0.001."
    return text

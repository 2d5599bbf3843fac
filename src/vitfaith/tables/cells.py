"""The leaderboard behind the LaTeX and Markdown formats: which numbers stand where, which are best, which are marked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vitfaith.errors import ArtifactError, InputError
from vitfaith.order import natural
from vitfaith.registry import Better
from vitfaith.statistics import COVERAGE, against, small_sample_note
from vitfaith.statistics.precision import snapped

if TYPE_CHECKING:
    from pandas import DataFrame, Series

LEVELS = ((0.001, "***"), (0.01, "**"), (0.05, "*"))
"""Adjusted p-value below … → mark."""

NEEDED = (
    *("method", "metric", "variant", "n", "mean", "low", "high"),
    *("compared", "asked", "n_own", "mean_own", "low_own", "high_own"),
)


@dataclass(frozen=True)
class Cell:
    """Mean of one method by one metric.

    Attributes:
        mean, low, high: mean over the images that all compared methods have, and bounds of its confidence interval (NaN
            where there is none); over its own images where the method is not compared.
        n: images in that mean.
        flagged: images without a value.
        best: whether no compared method of the column has a better mean.
        mark: "", "*", "**" or "***" for a difference from the baseline.
        compared: whether the method has enough images to be compared in this column.
        asked: images that any method of the column has a value for.
        mean_own, n_own: the mean over all images of the method, and their number.
    """

    mean: float
    low: float
    high: float
    n: int
    flagged: int
    best: bool
    mark: str
    compared: bool
    asked: int
    mean_own: float
    n_own: int


@dataclass(frozen=True)
class Leaderboard:
    """Methods × columns of cells; a cell is None where a method was not scored.

    Attributes:
        methods: rows, best first by the first column; methods that are not compared there come last.
        above: number of rows above the line, which are compared in the first column.
        columns: (metric, variant) of each column.
        directions: "higher" or "lower" for each column.
        cells: (row, column) → cell.
        confidence: level of the intervals, or None where the summary does not say.
        coverage: share of the images that a method needs to be compared.
        baseline: method that the marks refer to.
        tests: column → number of tests against the baseline that its marks are adjusted over.
        tied: method → mean share of the features of a map that equal an earlier one; empty where it is not known.
    """

    methods: tuple[str, ...]
    above: int
    columns: tuple[tuple[str, str], ...]
    directions: tuple[str, ...]
    cells: Mapping[tuple[int, int], Cell]
    confidence: float | None
    coverage: float
    baseline: str
    tests: Mapping[tuple[str, str], int]
    tied: Mapping[str, float]


def mark_of(p: float) -> str:
    """The mark of an adjusted p-value; nothing for NaN."""
    return next((mark for level, mark in LEVELS if p < level), "")


def leaderboard(
    summary: DataFrame,
    directions: Mapping[str, Better],
    *,
    statistics: DataFrame | None = None,
    baseline: str = "random",
    order: Sequence[str] | None = None,
    coverage: float = COVERAGE,
    tied: Mapping[str, float] | None = None,
) -> Leaderboard:
    """Arrange one condition's summary as methods × metrics.

    Args:
        summary: rows of schema ``SUMMARY`` for a single condition, one per (method, metric, variant).
        directions: metric → whether higher or lower means are better; every metric must be there.
        statistics: paired comparisons of the same condition with columns method, opponent, metric, variant, p; without it
            nothing is marked. Marks are adjusted by Holm over the tests against ``baseline`` in a column.
        baseline: opponent that marks refer to.
        order: methods from top to bottom; without it the best mean of the first column is on top.
        coverage: share of the images that the summary's comparisons ask for, for the notes.
        tied: method → mean share of tied features; without it the table has no such column.

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
        sorted({(str(m), str(v)) for m, v in zip(rows["metric"], rows["variant"], strict=True)}, key=_column_order)
    )
    unknown = [metric for metric, _ in columns if directions.get(metric) not in ("higher", "lower")]
    if unknown:
        raise InputError(f"directions lacks '{unknown[0]}'; say whether higher or lower is better")
    facts = {(r["method"], (r["metric"], r["variant"])): r for _, r in rows.iterrows()}
    best = {column: _best(facts, column, directions[column[0]]) for column in columns}
    marks, tests = _marks(statistics, baseline)
    methods, above = _order(rows["method"], facts, columns[0], directions[columns[0][0]], order)
    cells = {
        (i, j): _cell(
            facts[method, column], best[column], "" if method == baseline else marks.get((method, column), "")
        )
        for i, method in enumerate(methods)
        for j, column in enumerate(columns)
        if (method, column) in facts
    }
    levels = set(rows["confidence"].dropna()) if "confidence" in rows else set()
    confidence = float(levels.pop()) if len(levels) == 1 else None
    arrows = tuple(directions[metric] for metric, _ in columns)
    return Leaderboard(methods, above, columns, arrows, cells, confidence, coverage, baseline, tests, dict(tied or {}))


def _cell(row: Series, best: set[str], mark: str) -> Cell:
    compared = bool(row["compared"])
    own = "" if compared else "_own"
    return Cell(
        mean=float(row[f"mean{own}"]),
        low=float(row[f"low{own}"]),
        high=float(row[f"high{own}"]),
        n=int(row[f"n{own}"]),
        flagged=int(row.get("flagged", 0)),
        best=compared and str(row["method"]) in best,
        mark=mark if compared else "",
        compared=compared,
        asked=int(row["asked"]),
        mean_own=float(row["mean_own"]),
        n_own=int(row["n_own"]),
    )


def _column_order(column: tuple[str, str]) -> tuple:
    metric, variant = column
    return metric, natural(variant)


def _best(facts: Mapping, column: tuple[str, str], direction: str) -> set[str]:
    """Methods whose mean equals the best one within the precision of the scores."""
    rows = {m: float(row["mean"]) for (m, where), row in facts.items() if where == column and row["compared"]}
    means = snapped(np.array(list(rows.values())).reshape(-1, 1)).ravel()
    if not len(means) or np.isnan(means).all():
        return set()
    best = np.nanmax(means) if direction == "higher" else np.nanmin(means)
    return {method for method, mean in zip(rows, means, strict=True) if mean == best}


def _marks(
    statistics: DataFrame | None, baseline: str
) -> tuple[dict[tuple[str, tuple[str, str]], str], dict[tuple[str, str], int]]:
    """(method, column) → mark, and column → number of tests that were adjusted together."""
    if statistics is None:
        return {}, {}
    named = statistics.astype(dict.fromkeys(("method", "opponent", "metric", "variant"), "str"))
    rows = against(named, baseline, ["metric", "variant"])
    rows = rows[rows["p"].notna()]
    columns = list(zip(rows["metric"], rows["variant"], strict=True))
    marks = {(r["method"], (r["metric"], r["variant"])): mark_of(float(r["p_adjusted"])) for _, r in rows.iterrows()}
    return marks, {column: columns.count(column) for column in columns}


def _order(
    methods: Iterable[str], facts: Mapping, column: tuple[str, str], direction: str, order: Sequence[str] | None
) -> tuple[tuple[str, ...], int]:
    """Methods from top to bottom, and how many stand above the line; those below have no order among themselves."""
    names = sorted(set(methods))
    if order is not None and sorted(order) != names:
        raise InputError(f"order must list each method of the summary once: {', '.join(names)}")
    sign = -1.0 if direction == "higher" else 1.0

    def below(method: str) -> bool:
        return (method, column) in facts and not facts[method, column]["compared"]

    def rank(method: str) -> tuple[bool, bool, float]:
        mean = float(facts[method, column]["mean"]) if (method, column) in facts else float("nan")
        return below(method), bool(np.isnan(mean)), 0.0 if np.isnan(mean) else sign * mean

    found = sorted(names, key=rank) if order is None else sorted(order, key=below)
    return tuple(found), sum(not below(method) for method in found)


def column_text(column: tuple[str, str], names: Callable[[str], str]) -> str:
    """``SaCo (k=10)``."""
    metric, variant = column
    return f"{names(metric)}{f' ({variant})' if variant else ''}"


TIED_NOTE = "Tied: share of a map's features that equal an earlier one; their order is random."


def tied_column(board: Leaderboard) -> list[str]:
    """The share of tied features of each row in per cent; no entries where it is known of no method."""
    if not board.tied:
        return []
    shares = [board.tied.get(method, float("nan")) for method in board.methods]
    return [f"{100 * share:.0f} %" if share == share else "–" for share in shares]


def line_text(board: Leaderboard) -> str:
    """Text on the line between compared methods and the others."""
    return f"not compared: fewer than {100 * board.coverage:g} % of the images"


def level_text(board: Leaderboard) -> str:
    """Note on the brackets; empty if the summary has no level."""
    return "" if board.confidence is None else f"{100 * board.confidence:g} % confidence intervals in brackets"


def flagged_text(board: Leaderboard) -> str:
    """Sentence on the values that are in no mean; empty where there are none."""
    flagged = sum(cell.flagged for cell in board.cells.values())
    return f"{flagged} values are flagged (constant map, NaN or undefined score) and in no mean." if flagged else ""


def notes(board: Leaderboard, names: Callable[[str], str]) -> str:
    """Plain sentences under a table: n, the intervals, flagged values, who was left out, what the marks mean."""
    inside = [cell.n for cell in board.cells.values() if cell.compared]
    parts = []
    if inside:
        low, high = min(inside), max(inside)
        images = f"n = {low} images" if low == high else f"n = {low} to {high} images"
        level = level_text(board)
        level = f"; {level}" if level else ""
        parts.append(f"{images} per mean, the same for all methods compared in a column{level}; best mean in bold.")
        parts.append(small_sample_note(low))
    parts.append(flagged_text(board))
    parts.append(TIED_NOTE if board.tied else "")
    return " ".join(filter(None, [*parts, left_out(board, names), family(board, names)]))


def left_out(board: Leaderboard, names: Callable[[str], str]) -> str:
    """Sentence on the cells that are not compared; empty where all are."""
    found = [
        f"{names(board.methods[i])} by {column_text(board.columns[j], names)} ({cell.n} of {cell.asked})"
        for (i, j), cell in sorted(board.cells.items())
        if not cell.compared
    ]
    if not found:
        return ""
    return (
        f"† Not compared, mean over the method's own images, which are fewer than {100 * board.coverage:g} %: "
        f"{'; '.join(found)}."
    )


def family(board: Leaderboard, names: Callable[[str], str]) -> str:
    """Sentence on the marks and the tests that they are adjusted over; empty where nothing was tested."""
    sizes = sorted({size for size in board.tests.values() if size})
    if not sizes:
        return ""
    found = "" if any(cell.mark for cell in board.cells.values()) else " No difference reaches p < 0.05."
    size = f"{sizes[0]}" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
    return (
        f"Wilcoxon signed-rank test against {names(board.baseline)}, Holm over the {size} tests against it in a column: "
        f"* p < 0.05, ** p < 0.01, *** p < 0.001.{found}"
    )

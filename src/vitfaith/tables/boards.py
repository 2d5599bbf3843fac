"""One leaderboard per condition, as Markdown or LaTeX."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from vitfaith.registry import Better
from vitfaith.statistics import COVERAGE
from vitfaith.tables.cells import leaderboard
from vitfaith.tables.collect import CONDITION, condition_text, tells
from vitfaith.tables.latex import to_latex
from vitfaith.tables.markdown import to_markdown

if TYPE_CHECKING:
    from pandas import DataFrame


def boards_text(
    summary: DataFrame,
    comparisons: DataFrame,
    directions: Mapping[str, Better],
    form: Literal["markdown", "latex"],
    baseline: str = "random",
    coverage: float = COVERAGE,
    maps: DataFrame | None = None,
) -> str:
    """Leaderboards of every condition in ``summary``, one after the other; empty where nothing was scored.

    Args:
        summary: rows of schema ``SUMMARY``; those with a reference (stability, sanity checks) are left out.
        comparisons: paired tests with the columns of a condition, for the stars.
        directions: metric → whether higher or lower means are better.
        form: "markdown", or "latex" for tables of the package booktabs.
        baseline: method that the stars refer to.
        coverage: share of the images that the comparisons ask for.
        maps: rows of :func:`vitfaith.tables.maps.map_summary`, for the share of tied features per method.
    """
    parts, told = [], tells(summary)
    for condition, rows in summary[summary["reference"] == ""].groupby(CONDITION, sort=True, observed=True):
        tests = comparisons[(comparisons[CONDITION].astype(str) == list(map(str, condition))).all(axis=1)]
        tied = {}
        if maps is not None:
            own = maps[(maps[CONDITION].astype(str) == list(map(str, condition))).all(axis=1)]
            tied = dict(zip(own["method"].astype(str), own["tied"].astype(float), strict=True))
        board = leaderboard(rows, directions, statistics=tests, baseline=baseline, coverage=coverage, tied=tied)
        title = condition_text(condition, explained=told)
        parts.append(to_latex(board, caption=f"{title}.") if form == "latex" else to_markdown(board, title=title))
    return "\n".join(parts)

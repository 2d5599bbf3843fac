"""Leaderboards as Markdown (GitHub's tables)."""

from __future__ import annotations

import re
from collections.abc import Callable

from vitfaith.figures.names import decimal, label_of
from vitfaith.tables.cells import Cell, Leaderboard, notes


def escape_markdown(text: str) -> str:
    r"""``text`` so that Markdown prints it as it is in a table cell, ``|`` included; line breaks become spaces."""
    return re.sub(r"([\\`*_{}\[\]<>#|~$])", r"\\\1", " ".join(text.split()))


def _cell(cell: Cell | None, digits: int) -> str:
    if cell is None:
        return ""
    mean = decimal(cell.mean, digits)
    mean = f"**{mean}**" if cell.best else mean
    mark = cell.mark.replace("*", r"\*")
    return f"{mean}{mark} [{decimal(cell.low, digits)}, {decimal(cell.high, digits)}], n={cell.n}"


def to_markdown(
    board: Leaderboard,
    *,
    title: str = "",
    digits: int = 3,
    names: Callable[[str], str] = label_of,
    baseline: str = "random",
) -> str:
    """A heading (where ``title`` is given), the table, and notes on n, intervals, flagged values and marks.

    Each cell is ``mean [low, high], n=…`` with the best mean in bold and stars where it differs from ``baseline``.
    """
    header = ["Method"]
    for (metric, variant), direction in zip(board.columns, board.directions, strict=True):
        arrow = "↑" if direction == "higher" else "↓"
        header.append(escape_markdown(f"{names(metric)}{f' ({variant})' if variant else ''}") + f" {arrow}")
    lines = [f"### {escape_markdown(title)}", ""] if title else []
    lines.append("| " + " | ".join(header) + " |")
    lines.append("|" + " --- |" * len(header))
    for i, method in enumerate(board.methods):
        cells = [_cell(board.cells.get((i, j)), digits) for j in range(len(board.columns))]
        lines.append("| " + " | ".join([escape_markdown(names(method)), *cells]) + " |")
    footer = re.sub(r"([*<])", r"\\\1", notes(board, names(baseline)))
    return "\n".join([*lines, "", footer, ""])

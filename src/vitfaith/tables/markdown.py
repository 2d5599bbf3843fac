"""Leaderboards as Markdown (GitHub's tables)."""

from __future__ import annotations

import re
from collections.abc import Callable

from vitfaith.figures.drawing.names import decimal, label_of
from vitfaith.tables.cells import Cell, Leaderboard, column_text, line_text, notes, tied_column
from vitfaith.tables.text import escape_markdown, markdown_table


def _cell(cell: Cell | None, digits: int) -> str:
    if cell is None:
        return ""
    mean = decimal(cell.mean, digits)
    mean = f"**{mean}**" if cell.best else mean
    mark = cell.mark.replace("*", r"\*") if cell.compared else "†"
    text = f"{mean}{mark} [{decimal(cell.low, digits)}, {decimal(cell.high, digits)}], n={cell.n}"
    own = f"; own images {decimal(cell.mean_own, digits)}, n={cell.n_own}" if cell.n_own != cell.n else ""
    return text + own


def to_markdown(
    board: Leaderboard,
    *,
    title: str = "",
    digits: int = 3,
    names: Callable[[str], str] = label_of,
) -> str:
    """A heading (where ``title`` is given), the table, and notes on n, intervals, flagged values and marks.

    Each cell is ``mean [low, high], n=…`` over the images that all compared methods have, with the best mean in bold, stars
    where it differs from the baseline, and behind it the mean over the method's own images where these are more.
    """
    header = ["Method"]
    for column, direction in zip(board.columns, board.directions, strict=True):
        arrow = "↑" if direction == "higher" else "↓"
        header.append(escape_markdown(column_text(column, names)) + f" {arrow}")
    shares = tied_column(board)
    header += ["Tied"] if shares else []
    rows = []
    for i, method in enumerate(board.methods):
        if i == board.above:
            rows.append([f"*{line_text(board)}*", *[""] * (len(header) - 1)])
        cells = [_cell(board.cells.get((i, j)), digits) for j in range(len(board.columns))]
        rows.append([escape_markdown(names(method)), *cells, *shares[i : i + 1]])
    lines = [f"### {escape_markdown(title)}", ""] if title else []
    footer = re.sub(r"([*<])", r"\\\1", notes(board, names))
    return "\n".join([*lines, markdown_table(header, rows), "", footer, ""])

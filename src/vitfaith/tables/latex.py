"""Leaderboards as LaTeX (booktabs)."""

from __future__ import annotations

from collections.abc import Callable

from vitfaith.figures.drawing.names import label_of, number
from vitfaith.statistics import small_sample_note
from vitfaith.tables.cells import (
    TIED_NOTE,
    Leaderboard,
    column_text,
    family,
    flagged_text,
    left_out,
    level_text,
    line_text,
    tied_column,
)
from vitfaith.tables.text import escape_latex, latex_table


def _number(value: float, digits: int) -> str:
    text = number(value, digits)
    return f"$-${text[1:]}" if text.startswith("-") else escape_latex(text)


def to_latex(
    board: Leaderboard,
    *,
    caption: str = "",
    label: str = "",
    digits: int = 3,
    names: Callable[[str], str] = label_of,
    counts: bool = True,
) -> str:
    r"""A ``table`` environment; needs ``\usepackage{booktabs}``.

    Each cell is ``mean^{marks} [low, high]`` over the images that all compared methods have, with the best mean in bold, and n
    behind it where ``counts`` is set and n is not the same everywhere (then it stands in the caption). Methods that are not
    compared stand below a rule.

    Args:
        caption: text, escaped here; n, what brackets and bold mean, flagged values, who is not compared and what the
            marks mean are appended.
        label: label for ``\ref``, written as it is.
        digits: decimals.
        names: name in the tables → text.
    """
    numbers = {cell.n for cell in board.cells.values()}
    header = ["Method"]
    for column, direction in zip(board.columns, board.directions, strict=True):
        arrow = "↑" if direction == "higher" else "↓"
        header.append(escape_latex(f"{column_text(column, names)} {arrow}"))
    shares = tied_column(board)
    header += ["Tied"] if shares else []
    rows = []
    for i, method in enumerate(board.methods):
        row = [escape_latex(names(method))]
        for j in range(len(board.columns)):
            cell = board.cells.get((i, j))
            if cell is None:
                row.append("")
                continue
            mean = _number(cell.mean, digits)
            mean = rf"\textbf{{{mean}}}" if cell.best else mean
            mark = cell.mark if cell.compared else r"\dagger"
            mean += f"$^{{{mark}}}$" if mark else ""
            interval = f" [{_number(cell.low, digits)}, {_number(cell.high, digits)}]"
            size = f" ({cell.n})" if counts and len(numbers) > 1 else ""
            row.append(mean + interval + size)
        row += [escape_latex(share) for share in shares[i : i + 1]]
        rows.append(row)
    table = latex_table(header, rows)
    if board.above < len(rows):
        text = escape_latex(line_text(board))
        table[4 + board.above : 4 + board.above] = [
            r"\midrule",
            rf"\multicolumn{{{len(header)}}}{{l}}{{\emph{{{text}}}}} \\",
        ]
    lines = [r"\begin{table}", r"\centering", *table]
    told = [caption]
    if counts:
        told.append(f"n = {min(numbers)} images." if len(numbers) == 1 else "Number of images in parentheses.")
    bold = "best mean in bold" if any(cell.best for cell in board.cells.values()) else ""
    drawn = "; ".join(filter(None, [level_text(board), bold]))
    told.append(f"{drawn[0].upper()}{drawn[1:]}." if drawn else "")
    told.append(small_sample_note(min((cell.n for cell in board.cells.values() if cell.compared), default=0)))
    told.append(flagged_text(board))
    told.append(TIED_NOTE if shares else "")
    caption = " ".join(filter(None, [*told, left_out(board, names), family(board, names)]))
    if caption:
        lines.append(rf"\caption{{{escape_latex(caption)}}}")
    if label:
        lines.append(rf"\label{{{label}}}")
    return "\n".join([*lines, r"\end{table}", ""])

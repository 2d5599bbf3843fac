"""Leaderboards as LaTeX (booktabs)."""

from __future__ import annotations

from collections.abc import Callable

from vitfaith.figures.names import label_of, number
from vitfaith.tables.cells import Leaderboard

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "×": r"$\times$",
    "–": "--",
    "−": "$-$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
}


def escape_latex(text: str) -> str:
    """``text`` so that LaTeX prints it as it is; line breaks become spaces."""
    return "".join(_SPECIAL.get(c, c) for c in " ".join(text.split()))


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

    Each cell is ``mean^{marks} [low, high]`` with the best mean in bold, and n behind it where ``counts`` is set and n
    is not the same everywhere (then it stands in the caption).

    Args:
        caption: text, escaped here; n is appended.
        label: label for ``\ref``, written as it is.
        digits: decimals.
        names: name in the tables → text.
    """
    numbers = {cell.n for cell in board.cells.values()}
    header = ["Method"]
    for (metric, variant), direction in zip(board.columns, board.directions, strict=True):
        arrow = "↑" if direction == "higher" else "↓"
        header.append(escape_latex(f"{names(metric)}{f' ({variant})' if variant else ''} {arrow}"))
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\begin{{tabular}}{{l{'l' * len(board.columns)}}}",
        r"\toprule",
        " & ".join(header) + r" \\",
        r"\midrule",
    ]
    for i, method in enumerate(board.methods):
        row = [escape_latex(names(method))]
        for j in range(len(board.columns)):
            cell = board.cells.get((i, j))
            if cell is None:
                row.append("")
                continue
            mean = _number(cell.mean, digits)
            mean = rf"\textbf{{{mean}}}" if cell.best else mean
            mean += f"$^{{{cell.mark}}}$" if cell.mark else ""
            interval = f" [{_number(cell.low, digits)}, {_number(cell.high, digits)}]"
            size = f" ({cell.n})" if counts and len(numbers) > 1 else ""
            row.append(mean + interval + size)
        lines.append(" & ".join(row) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}"]
    if counts and len(numbers) == 1:
        caption = f"{caption} n = {numbers.pop()} images.".strip()
    elif counts:
        caption = f"{caption} Number of images in parentheses.".strip()
    if caption:
        lines.append(rf"\caption{{{escape_latex(caption)}}}")
    if label:
        lines.append(rf"\label{{{label}}}")
    return "\n".join([*lines, r"\end{table}", ""])

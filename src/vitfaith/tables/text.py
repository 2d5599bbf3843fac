"""Tables as text: Markdown by tabulate, LaTeX by pandas."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from tabulate import DataRow, TableFormat, tabulate

_ROW = DataRow("| ", " | ", " |")
_UNPADDED = TableFormat(
    lineabove=None,
    linebelowheader=lambda widths, _: "|" + " --- |" * len(widths),
    linebetweenrows=None,
    linebelow=None,
    headerrow=_ROW,
    datarow=_ROW,
    padding=0,
    with_header_hide=None,
)
"""GitHub's tables with cells as long as their text: a longer name changes one row of a kept file, not all of them."""

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
    "†": r"$\dagger$",
    "×": r"$\times$",
    "–": "--",
    "−": "$-$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
}
"""More than pandas escapes: also the symbols in our texts, which TeX's fonts lack."""


def escape_markdown(text: str) -> str:
    r"""``text`` so that Markdown prints it as it is in a table cell, ``|`` included; line breaks become spaces."""
    return re.sub(r"([\\`*_{}\[\]<>#|~$])", r"\\\1", " ".join(text.split()))


def escape_latex(text: str) -> str:
    """``text`` so that LaTeX prints it as it is; line breaks become spaces."""
    return "".join(_SPECIAL.get(c, c) for c in " ".join(text.split()))


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    r"""GitHub's Markdown of a table whose cells are as long as ``head`` and escaped already; without a line break at the end.

    Example:
        >>> print(markdown_table(["method", "n"], [["rollout", 64]]))
        | method | n |
        | --- | --- |
        | rollout | 64 |
    """
    cells = [[str(cell) for cell in row] for row in rows]
    return tabulate(cells, head, tablefmt=_UNPADDED, disable_numparse=True, numalign=None, stralign=None)


def latex_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    r"""Lines of a ``tabular`` (package booktabs); cells are escaped already. Rows begin at line 4, ``\bottomrule`` follows them."""
    from pandas import DataFrame

    style = (
        DataFrame(list(rows), columns=range(len(head)))
        .style.hide(axis="index")
        .relabel_index(list(head), axis="columns")
    )
    return style.to_latex(hrules=True, column_format="l" * len(head)).splitlines()

"""Two pages of findings compared: the text must be equal, and numbers must agree to their last shown digit."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from difflib import SequenceMatcher
from itertools import groupby

from vitfaith.errors import ArtifactError

_NUMBER = re.compile(
    r"(?:(?<![\w.)\]])[−-])?(?:(?<![\d.])\d{1,3}(?:,\d{3})+(?:\.\d+)?|(?<![\d.])\d+(?:\.\d+)?|(?<![\w.])\.\d+)(?:e[+-]?\d+)?"
)
_RULE = re.compile(r"(?<=\|) *:?-{3,}:? *(?=\|)")
"""A cell of the line below the head of a table, in its several spellings."""
MADE = "Made by `vitfaith reproduce"
"""Start of the line that says how a page was made; its end, from the last semicolon, names time and processor."""
_TIME = re.compile(r"\b(?:ms|s|seconds?|min|minutes?|hours?|h)\b")
_TIME_AFTER = re.compile(r"\s*(?:(?:CPU|core|wall)[ -])?(?:ms|s|seconds?|min|minutes?|hours?|h)\b")


@dataclass(frozen=True)
class PageDifference:
    """Lines that differ.

    Attributes:
        line: number of the line in the committed page, from 1; where a line is only in the new page, the line before it.
        committed: the line there, empty where it is missing.
        now: the line of the new page, empty where it is missing.
    """

    line: int
    committed: str
    now: str


def numbers_agree(committed: str, now: str, units: int = 1) -> bool:
    """Whether two numbers as text, as ``0.42``, ``−.3``, ``1,088`` or ``2e-05``, agree.

    Those with decimals may differ by ``units`` of the last digit of the number that shows fewer; integers are counts and must be equal.
    """
    first, second = (Decimal(text.replace("−", "-").replace(",", "")) for text in (committed, now))
    last = max(_exponent(first), _exponent(second))
    return first == second if last >= 0 else abs(first - second) <= units * Decimal(10) ** last


def _exponent(number: Decimal) -> int:
    exponent = number.as_tuple().exponent
    return exponent if isinstance(exponent, int) else 0


def compare_pages(committed: str, now: str, units: int = 1) -> list[PageDifference]:
    """The lines in which two Markdown pages differ, in their order.

    Text other than numbers must be equal. Numbers agree as in :func:`numbers_agree`; those before a unit of time, or in a column of a table
    whose head names one, are not compared. Nor is the end of a line of provenance (:data:`MADE`).
    """
    lines = [[_without_machine(line) for line in page.splitlines()] for page in (committed, now)]
    masked = [[_NUMBER.sub("#", _RULE.sub("---", line)) for line in side] for side in lines]
    timed = _times(lines[0])
    found: list[PageDifference] = []
    for kind, a, b, c, d in SequenceMatcher(None, masked[0], masked[1], autojunk=False).get_opcodes():
        if kind == "equal":
            for i, j in zip(range(a, b), range(c, d), strict=True):
                if not _lines_agree(lines[0][i], lines[1][j], timed[i], units):
                    found.append(PageDifference(i + 1, lines[0][i], lines[1][j]))
            continue
        for place in range(max(b - a, d - c)):
            i, j = a + place, c + place
            found.append(PageDifference(min(i + 1, b), lines[0][i] if i < b else "", lines[1][j] if j < d else ""))
    return found


def _without_machine(line: str) -> str:
    """The line; one of provenance without time and processor, which differ between machines."""
    return line.rpartition("; ")[0] or line if line.startswith(MADE) else line


def tables_of(page: str) -> list[str]:
    """The Markdown tables of a page, each with all its lines."""
    lines = page.splitlines()
    return ["\n".join(lines[table]) for table in _tables(lines)]


def table_below(page: str, heading: str) -> tuple[int, str]:
    """Number of the line before, and the lines of, the first table after the line ``heading``.

    Raises:
        ArtifactError: the page has no such line, or no table after it.
    """
    lines = page.splitlines()
    if heading not in lines:
        raise ArtifactError(f"the page has no heading '{heading}'; correct it in the list of pages")
    start = lines.index(heading)
    table = next((table for table in _tables(lines) if table.start >= start), None)
    if table is None:
        raise ArtifactError(f"the page has no table below '{heading}'; correct it in the list of pages")
    return table.start, "\n".join(lines[table])


def compare_tables(committed: str, now: str, headings: Sequence[str], units: int = 1) -> list[PageDifference]:
    """As :func:`compare_pages`, of the tables in ``now`` with the first table below each heading of the page ``committed``.

    Raises:
        ArtifactError: a heading or its table is missing, or ``now`` has another number of tables.
    """
    found = []
    for heading, table in _beside(now, headings):
        before, kept = table_below(committed, heading)
        found += [PageDifference(d.line + before, d.committed, d.now) for d in compare_pages(kept, table, units)]
    return found


def with_tables(committed: str, now: str, headings: Sequence[str]) -> str:
    """The page ``committed`` with the tables in ``now`` in place of the first table below each heading.

    Where ``now`` has a line of provenance (:data:`MADE`), it stands below each heading, in place of an older one.

    Raises:
        ArtifactError: as :func:`compare_tables`.
    """
    made = next((line for line in now.splitlines() if line.startswith(MADE)), None)
    for heading, table in _beside(now, headings):
        before, kept = table_below(committed, heading)
        lines = committed.splitlines()
        lines[before : before + len(kept.splitlines())] = table.splitlines()
        if made is not None:
            start = lines.index(heading) + 1
            lines[start:before] = _made_first(lines[start:before], made)
        committed = "\n".join([*lines, ""])
    return committed


def _made_first(lines: Sequence[str], made: str) -> list[str]:
    """The lines between a heading and its table, with the line of provenance first."""
    rest = [line for line in lines if not line.startswith(MADE)]
    text = "\n".join(rest).strip("\n")
    return ["", made, "", *([*text.split("\n"), ""] if text else [])]


def _beside(now: str, headings: Sequence[str]) -> list[tuple[str, str]]:
    """Each heading with its table in ``now``."""
    made = tables_of(now)
    if len(made) != len(headings):
        raise ArtifactError(f"{len(made)} tables were made, {len(headings)} are in the page; correct the list of pages")
    return list(zip(headings, made, strict=True))


def _tables(lines: Sequence[str]) -> list[slice]:
    """The runs of lines that begin with a bar."""
    runs = groupby(range(len(lines)), key=lambda i: lines[i].startswith("|"))
    found = [list(run) for is_table, run in runs if is_table]
    return [slice(run[0], run[-1] + 1) for run in found]


def _times(lines: Sequence[str]) -> list[frozenset[int]]:
    """Per line the columns of its table whose head names a unit of time."""
    found = [frozenset[int]()] * len(lines)
    for table in _tables(lines):
        columns = frozenset(i for i, cell in enumerate(lines[table.start].split("|")) if _TIME.search(cell))
        found[table] = [columns] * (table.stop - table.start)
    return found


def _lines_agree(committed: str, now: str, exempt: frozenset[int], units: int) -> bool:
    pairs = zip(_numbers(committed, exempt), _numbers(now, exempt), strict=False)
    return all(a is None or b is None or numbers_agree(a, b, units) for a, b in pairs)


def _numbers(line: str, exempt: frozenset[int]) -> Iterator[str | None]:
    """The numbers of a line, None for a time."""
    for match in _NUMBER.finditer(line):
        column = line.count("|", 0, match.start()) if line.startswith("|") else -1
        timed = column in exempt or _TIME_AFTER.match(line, match.end()) is not None
        yield None if timed else match[0]

"""The words of the repository that a user or a reader of the code sees, with the line on which each piece starts."""

from __future__ import annotations

import ast
import io
import json
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "docs", "config", "rules", "workflow", "src")
KINDS = {".md", ".ipynb", ".py", ".smk", ".yaml", ".rst", ".txt"}
"""Endings of files that hold words; ``Snakefile`` has none."""


def files() -> list[Path]:
    """All files with words, relative to the root."""
    found = []
    for name in FOLDERS:
        path = ROOT / name
        below = [path] if path.is_file() else sorted(path.rglob("*"))
        found += [p for p in below if p.is_file() and (p.suffix in KINDS or p.name == "Snakefile")]
    return [p.relative_to(ROOT) for p in found if "__pycache__" not in p.parts]


def prose(path: Path) -> Iterator[tuple[int, str]]:
    """(line, text) of each piece: a comment that may run over several lines, a string, a paragraph."""
    text = (ROOT / path).read_text(encoding="utf-8")
    if path.suffix == ".py":
        yield from python(text)
    elif path.suffix == ".ipynb":
        yield from notebook(text)
    elif path.suffix in {".smk", ".yaml"} or path.name == "Snakefile":
        yield from comments(enumerate(text.splitlines(), 1))
    else:
        yield from paragraphs(text)


def python(text: str) -> Iterator[tuple[int, str]]:
    """Comments, docstrings and all other strings: help texts and errors are among them."""
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    yield from comments((t.start[0], t.string) for t in tokens if t.type == tokenize.COMMENT)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield node.lineno, node.value


def comments(lines: Iterator[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """The words behind ``#``; comments on lines that follow each other are one piece."""
    start, last, words = 0, 0, list[str]()
    for number, line in lines:
        _, mark, comment = line.partition("#")
        if not mark:
            continue
        if words and number != last + 1:
            yield start, " ".join(words)
            words = []
        if not words:
            start = number
        words.append(comment.strip())
        last = number
    if words:
        yield start, " ".join(words)


def paragraphs(text: str) -> Iterator[tuple[int, str]]:
    """What stands between empty lines; each row of a table is a piece."""
    start, words = 1, list[str]()
    for number, line in enumerate([*text.splitlines(), ""], 1):
        if words and (not line.strip() or line.startswith("|")):
            yield start, " ".join(words)
            words = []
        if line.strip():
            start = start if words else number
            words.append(line.strip())


def notebook(text: str) -> Iterator[tuple[int, str]]:
    """Text cells and comments of code cells; the line is the number of the cell."""
    for number, cell in enumerate(json.loads(text)["cells"], 1):
        source = "".join(cell["source"])
        pieces = paragraphs(source) if cell["cell_type"] == "markdown" else comments(enumerate(source.splitlines(), 1))
        yield from ((number, piece) for _, piece in pieces)

"""Writes docs/conformance.md: how far our numbers are from those of outside packages, authors' code and textbook forms.

    python -m benchmarks.conformance            measure and write the page
    python -m benchmarks.conformance --check    measure and write nothing; fail if an error exceeds its tolerance, an
                                                explainer has no row, or the page's rows are not those of the oracles

Each package under tests/ may have a module or package ``oracles`` with a list ``ORACLES``; the tests read the same
lists.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

import torch
from tests.attribute.oracles.base import Oracle

import vitfaith.attribute.explainers  # noqa: F401  (registers)
from vitfaith.attribute.registry import EXPLAINERS

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "conformance.md"
PACKAGES = ("captum", "fast-vit-rollout", "grad-cam", "torchcam", "txv", "zennit", "scikit-learn", "timm", "torch")

HEAD = """# Conformance

Our numbers against those of outside packages, of stored outputs of the authors' code, and of slow textbook forms that
share no code with ours, on tiny random networks in float32 on a CPU. The relative error is the largest absolute
difference divided by the largest magnitude of the oracle's output; `tests/` hold it under the tolerance. Every
registered explainer has a row. Made by `python -m benchmarks.conformance`; `--check` fails when it is out of date.
"""
COLUMNS = (
    "| method | oracle | what the oracle is | largest error | relative | tolerance |\n|---|---|---|---:|---:|---:|"
)


def oracles() -> list[Oracle]:
    """The entries of all ``tests/*/oracles``, in order of path."""
    found: list[Oracle] = []
    for path in sorted([*(ROOT / "tests").glob("*/oracles.py"), *(ROOT / "tests").glob("*/oracles/__init__.py")]):
        found += importlib.import_module(f"tests.{path.relative_to(ROOT / 'tests').parts[0]}.oracles").ORACLES
    return found


def rows_of(entries: Iterable[Oracle]) -> list[str]:
    """The page's rows without their measured columns."""
    return [f"| `{o.subject}` | {o.source} | {o.remark} | {o.tolerance:.0e} |" for o in entries]


def page_rows(text: str | None = None) -> list[str]:
    """The same of the page as it is."""
    lines = (PAGE.read_text(encoding="utf-8") if text is None else text).splitlines()
    cells = [line.split(" | ") for line in lines if line.startswith("| `")]
    return [" | ".join([*row[:3], row[-1]]) for row in cells]


def page(measured: list[tuple[Oracle, tuple[float, float]]]) -> str:
    """The Markdown page."""
    lines = [
        f"| `{o.subject}` | {o.source} | {o.remark} | {absolute:.0e} | {relative:.0e} | {o.tolerance:.0e} |"
        for o, (absolute, relative) in measured
    ]
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return "\n".join([HEAD, COLUMNS, *lines, "", f"Versions: {versions}.", ""])


def problems(measured: list[tuple[Oracle, tuple[float, float]]], text: str) -> list[str]:
    """What is wrong with the numbers, or with the page ``text``."""
    found = [
        f"{o.subject} against {o.source}: relative error {error:.1e} > {o.tolerance:.0e}"
        for o, (_, error) in measured
        if not error <= o.tolerance
    ]
    listed = page_rows(text)
    found += [
        f"explainer '{entry.name}' has no row; add an oracle to tests/attribute/oracles"
        for entry in EXPLAINERS
        if entry.module.startswith("vitfaith.") and not any(row.startswith(f"| `{entry.name}` |") for row in listed)
    ]
    if listed != rows_of(o for o, _ in measured):
        found.append("the rows are not those of the oracles; run python -m benchmarks.conformance")
    return found


def main() -> int:
    """Measure; write the page or check it."""
    torch.set_num_threads(1)
    measured = [(oracle, oracle.errors()) for oracle in oracles()]
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(page(measured), encoding="utf-8")
    wrong = problems(measured, PAGE.read_text(encoding="utf-8"))
    print("\n".join(wrong), file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

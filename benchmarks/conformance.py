"""Writes docs/conformance.md: how far our numbers are from those of outside packages, authors' code and textbook forms.

    python -m benchmarks.conformance            measure and write the page
    python -m benchmarks.conformance --check    measure and write nothing; fail if an error exceeds its tolerance, an
                                                explainer, metric, stability measure or sanity check has no row, or
                                                the page's rows are not those of the oracles

Packages under tests/ have a module or package ``oracles`` with a list ``ORACLES``; the tests read the same lists.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import torch
from tests.oracle import Oracle

from vitfaith.registries import REGISTRIES

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "conformance.md"
PACKAGES = (
    "captum", "fast-vit-rollout", "grad-cam", "quantus", "torchcam", "txv", "zennit", "numpy", "scikit-image",
    "scikit-learn", "scipy", "timm", "torch",
)  # fmt: skip
SECTIONS: dict[str, tuple[str, ...]] = {
    "Explainers": ("explainers",),
    "Metrics": ("metrics",),
    "Stability and sanity": ("stability", "sanity"),
}
"""Heading → nouns: each entry of their registries needs a row there, and their tests have the oracles."""

Measured = Mapping[str, Sequence[tuple[Oracle, tuple[float, float]]]]
"""Heading → its oracles with their errors."""

HEAD = """# Conformance

Our numbers against numbers of outside packages, of stored outputs of the authors' code, of published figures, and of slow
textbook forms that share no code with ours, on tiny random networks in float32 on a CPU. Where a method draws at random,
the oracle is given our draws. The relative error is the largest absolute difference divided by the largest magnitude of
the oracle's output; `tests/` hold it under the tolerance. Flagged maps have no number to compare; other tests hold their
flags. Every registered explainer, metric, stability measure and sanity check has a row. Made by
`python -m benchmarks.conformance`; `--check` fails when it is out of date.
"""
COLUMNS = (
    "| method | oracle | what the oracle is | largest error | relative | tolerance |\n|---|---|---|---:|---:|---:|"
)


def oracles() -> dict[str, list[Oracle]]:
    """Heading → the entries of its packages' ``tests/*/oracles``."""
    return {
        heading: [oracle for noun in nouns for oracle in importlib.import_module(f"tests.{noun}.oracles").ORACLES]
        for heading, nouns in SECTIONS.items()
    }


def rows_of(entries: Iterable[Oracle]) -> list[str]:
    """The page's rows without their measured columns."""
    return [f"| `{o.subject}` | {o.source} | {o.remark} | {o.tolerance:.0e} |" for o in entries]


def page_rows(heading: str, text: str | None = None) -> list[str]:
    """The same of one section of the page as it is."""
    whole = PAGE.read_text(encoding="utf-8") if text is None else text
    _, _, section = whole.partition(f"\n## {heading}\n")
    lines = section.partition("\n## ")[0].splitlines()
    cells = [line.split(" | ") for line in lines if line.startswith("| `")]
    return [" | ".join([*row[:3], row[-1]]) for row in cells]


def page(measured: Measured) -> str:
    """The Markdown page."""
    blocks = [HEAD]
    for heading, entries in measured.items():
        lines = [
            f"| `{o.subject}` | {o.source} | {o.remark} | {absolute:.0e} | {relative:.0e} | {o.tolerance:.0e} |"
            for o, (absolute, relative) in entries
        ]
        blocks.append("\n".join([f"## {heading}", "", COLUMNS, *lines, ""]))
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return "\n".join([*blocks, f"Versions: {versions}.", ""])


def missing(text: str) -> list[str]:
    """What is registered here and has no row in the page ``text``."""
    found = []
    for heading, nouns in SECTIONS.items():
        listed = page_rows(heading, text)
        for noun in nouns:
            registry = REGISTRIES[noun]
            found += [
                f"{registry.kind} '{entry.name}' has no row; add an oracle to tests/{noun}/oracles"
                for entry in registry
                if entry.module.startswith("vitfaith.") and not any(r.startswith(f"| `{entry.name}` |") for r in listed)
            ]
    return found


def problems(measured: Measured, text: str) -> list[str]:
    """What is wrong with the numbers, or with the page ``text``."""
    found = [
        f"{o.subject} against {o.source}: relative error {error:.1e} > {o.tolerance:.0e}"
        for entries in measured.values()
        for o, (_, error) in entries
        if not error <= o.tolerance
    ]
    found += missing(text)
    if any(page_rows(heading, text) != rows_of(o for o, _ in entries) for heading, entries in measured.items()):
        found.append("the rows are not those of the oracles; run python -m benchmarks.conformance")
    return found


def main() -> int:
    """Measure; write the page or check it."""
    torch.set_num_threads(1)
    measured = {heading: [(oracle, oracle.errors()) for oracle in entries] for heading, entries in oracles().items()}
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(page(measured), encoding="utf-8")
    wrong = problems(measured, PAGE.read_text(encoding="utf-8"))
    print("\n".join(wrong), file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

"""Writes docs/conformance.md: how far our numbers are from those of outside packages and stored reference outputs.

    python -m benchmarks.conformance            write the page
    python -m benchmarks.conformance --check    fail if an error exceeds its tolerance; write nothing

Each package under tests/ may have a module ``oracles`` with a list ``ORACLES``; the tests read the same lists.
"""

from __future__ import annotations

import importlib
import sys
from importlib.metadata import version
from pathlib import Path

import torch
from tests.attribute.oracles import Oracle, quiet

ROOT = Path(__file__).parents[1]
PACKAGES = ("captum", "fast-vit-rollout", "grad-cam", "torchcam", "timm", "torch")

HEAD = """# Conformance

Our numbers against those of outside packages and of stored outputs of the authors' code, on tiny random networks. The
error is the largest absolute difference divided by the largest magnitude of the outside number, in float32 on a CPU;
`tests/` hold it under the tolerance. Made by `python -m benchmarks.conformance`.

Methods without a row have no outside implementation that computes the same thing; they are held against textbook loops
in float64 (`tests/attribute/textbook.py` and the tests of each family).
"""


def oracles() -> list[Oracle]:
    """The entries of all ``tests/*/oracles.py``, in order of path."""
    found: list[Oracle] = []
    for path in sorted((ROOT / "tests").glob("*/oracles.py")):
        found += importlib.import_module(f"tests.{path.parent.name}.oracles").ORACLES
    return found


def page(measured: list[tuple[Oracle, float]]) -> str:
    """The Markdown page."""
    lines = ["| of | compared with | how | error | tolerance |", "|---|---|---|---:|---:|"]
    lines += [f"| `{o.subject}` | {o.source} | {o.remark} | {error:.0e} | {o.tolerance:.0e} |" for o, error in measured]
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return "\n".join([HEAD, *lines, "", f"Versions: {versions}.", ""])


def main() -> int:
    """Measure; write the page or check it."""
    torch.set_num_threads(1)
    measured = [(oracle, quiet(oracle)) for oracle in oracles()]
    wrong = [(o, error) for o, error in measured if not error <= o.tolerance]
    for oracle, error in wrong:
        print(f"{oracle.subject} against {oracle.source}: error {error:.1e} > {oracle.tolerance:.0e}", file=sys.stderr)
    if "--check" not in sys.argv[1:]:
        (ROOT / "docs" / "conformance.md").write_text(page(measured), encoding="utf-8")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

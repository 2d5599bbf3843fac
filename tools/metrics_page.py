"""The tables of docs/metrics.md, from the registries and from counting requests; the text around them stays.

python tools/metrics_page.py            write the tables
python tools/metrics_page.py --check    write nothing; fail when the page is out of date
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path

from vitfaith.metrics.engine.cost import forward_cost
from vitfaith.registries import REGISTRIES
from vitfaith.registry import Entry
from vitfaith.tables.text import markdown_table

PAGE = Path(__file__).resolve().parent.parent / "docs" / "metrics.md"
GROUPS = {
    "SaCo": ("saco",),
    "Curves": ("curves", "eraser", "chefer", "diffmask", "region", "road", "irof", "effective_complexity"),
    "Response bank": ("banked", "non_sensitivity"),
    "One more image, or none": ("others",),
    "Ground truth": ("ground_truth", "admissible"),
}
"""Heading → modules of vitfaith.metrics."""

ARROWS = {"higher": "↑", "lower": "↓", "none": ""}


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Markdown."""
    escaped = [[cell.replace("|", "\\|") for cell in line] for line in (head, *rows)]
    return markdown_table(escaped[0], escaped[1:])


def passes(entry: Entry) -> str:
    """Forward passes with the default settings, for 14 × 14 maps of 224-pixel images."""
    cost = forward_cost([entry.implementation(entry.parameters())], (14, 14), (224, 224))
    parts = [f"{cost.per_map} per map"] if cost.per_map else []
    return " + ".join([*parts, *([f"{cost.per_image} per image"] if cost.per_image else [])]) or "0"


def metrics() -> str:
    """Every metric, by kind."""
    blocks = []
    for heading, modules in GROUPS.items():
        entries = [e for m in modules for e in REGISTRIES["metrics"] if e.module == f"vitfaith.metrics.{m}"]
        rows = [
            (f"`{e.name}`", e.traits["formula"], ARROWS[e.traits["direction"]], e.traits["value_range"], passes(e), e.citation)
            for e in entries
        ]  # fmt: skip
        head = ("metric", "formula", "better", "range", "forward passes", "source")
        blocks.append(f"### {heading}\n\n{table(head, rows)}")
    return "\n\n".join(blocks)


def stability() -> str:
    """Every stability measure."""
    rows = [(f"`{e.name}`", e.summary, ARROWS[e.traits["direction"]], e.citation) for e in REGISTRIES["stability"]]
    return table(("measure", "what it is", "more alike", "source"), rows)


def sanity() -> str:
    """Every sanity check."""
    rows = [(f"`{e.name}`", e.summary, e.traits["explanations"], e.citation) for e in REGISTRIES["sanity"]]
    return table(("check", "what it is", "explanations of each image", "source"), rows)


def page(text: str) -> str:
    """``text`` with its tables made anew."""
    for name, make in {"metrics": metrics, "stability": stability, "sanity": sanity}.items():
        block = f"<!-- {name}: made by tools/metrics_page.py -->\n\n{make()}\n\n<!-- end -->"
        pattern = rf"<!-- {name}: made by tools/metrics_page\.py -->.*?<!-- end -->"
        text, count = re.subn(pattern, block.replace("\\", r"\\"), text, flags=re.DOTALL)
        if count != 1:
            raise SystemExit(f"{PAGE}: no place for the table '{name}'")
    return text


def main() -> int:
    """Write or check the page; exit status 1 when it is out of date."""
    text = PAGE.read_text(encoding="utf-8")
    new = page(text)
    if "--check" in sys.argv[1:]:
        return int(new != text)
    PAGE.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

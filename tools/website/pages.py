"""Which pages the site has, at which address, and where the menu shows them. Imports no mkdocs."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"

ABOVE = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "config/README.md": "config/index.md",
}
"""Files above docs → the address of their page."""

MENU: dict[tuple[str, ...], tuple[str, ...]] = {
    ("Start",): ("index.md", "library.md", "faq.md"),
    ("Tutorials",): ("notebooks/*.md",),
    ("How-to",): (
        "datasets.md",
        "models.md",
        "external.md",
        "extend.md",
        "training.md",
        "slurm.md",
        "benchmark.md",
        "trust.md",
        "reliability.md",
        "bad-inputs.md",
    ),
    ("Background",): (
        "architecture.md",
        "statistics.md",
        "fills.md",
        "relevance.md",
        "diffmask.md",
        "vit-shapley.md",
        "certificates.md",
        "noise.md",
    ),
    ("Reference",): (
        "reference/library.md",
        "reference/plot.md",
        "reference/plugins.md",
        "reference/commands.md",
        "columns.md",
        "metrics.md",
    ),
    ("Reference", "Configuration"): ("config/index.md", "config/*"),
    ("Reference", "Comparisons and costs"): ("conformance.md", "backbones.md", "performance.md"),
    ("Findings",): (
        "findings.md",
        "robustness.md",
        "*findings.md",
        "stamps-crossfit.md",
        "grid-task.md",
        "indomain.md",
    ),
    ("Gallery",): ("gallery.md",),
    ("Project",): ("contributing.md", "changelog.md"),
}
"""Place in the menu → patterns of addresses, in the order in which their pages appear."""

REST = ("How-to",)
"""Where the menu shows a page that no pattern names."""


def address(path: str) -> str | None:
    """Address of the page made from a file of the repository; None for a file that is no page.

    Args:
        path: relative to the root, with ``/``.
    """
    if path in ABOVE:
        return ABOVE[path]
    if path.startswith("docs/") and path.endswith((".md", ".ipynb")):
        return path.removeprefix("docs/").removesuffix(".ipynb").removesuffix(".md") + ".md"
    return None


def sources() -> dict[str, str]:
    """Address → file of every page that is written, not generated.

    Raises:
        ValueError: two files have one address.
    """
    found: dict[str, str] = {}
    files = [ROOT / name for name in ABOVE]
    files += [path for path in DOCS.rglob("*") if path.suffix in {".md", ".ipynb"}]
    for path in sorted(p.relative_to(ROOT).as_posix() for p in files if p.is_file()):
        page = address(path)
        if page is None or ".ipynb_checkpoints" in path:
            continue
        if page in found:
            raise ValueError(f"{path} and {found[page]} would both be the page {page}; rename one")
        found[page] = path
    return found


def menu(pages: Iterable[str]) -> dict[tuple[str, ...], list[str]]:
    """Place → addresses; every page is in one place."""
    left = sorted(pages)
    placed: dict[tuple[str, ...], list[str]] = {}
    for place, patterns in MENU.items():
        for pattern in patterns:
            matching = [page for page in left if fnmatch(page, pattern)]
            placed.setdefault(place, []).extend(matching)
            left = [page for page in left if page not in matching]
    placed[REST] += left
    return {place: found for place, found in placed.items() if found}


def nav(pages: Iterable[str]) -> list[dict[str, list[object]]]:
    """The menu as mkdocs takes it: titles with lists of addresses and of further titles."""
    top: dict[str, list[object]] = {}
    for place, found in menu(pages).items():
        if len(place) == 1:
            top.setdefault(place[0], []).extend(found)
        else:
            top.setdefault(place[0], []).append({place[1]: found})
    return [{title: entries} for title, entries in top.items()]

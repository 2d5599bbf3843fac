"""The page stage: one HTML file with an experiment's tables, curves and gallery; it needs no server and no network."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any

from vitfaith.artifacts.provenance import provenance
from vitfaith.artifacts.record import record_beside, write_record
from vitfaith.artifacts.store import atomic_path
from vitfaith.figures.drawing.data import read_tables
from vitfaith.figures.drawing.style import Style
from vitfaith.figures.page.data import page_data

TABLES = ("summary", "curves", "gallery")


def run_page(spec: Mapping[str, Any], code: str, tables: Path, out: Path) -> None:
    """Write the page of an experiment from the Parquet files in ``tables``, and its record.

    Raises:
        ArtifactError: a table is missing.
    """
    data = page_data(**read_tables(tables, TABLES, "the page"), spec=spec, style=Style(**spec["style"]))
    with atomic_path(out) as temporary:
        temporary.write_text(page(data), encoding="utf-8")
    write_record(record_beside(out), provenance("page", spec, code), [out])


def page(data: Mapping[str, Any]) -> str:
    """The page around ``data``; no text of the data can end the element that holds it."""
    template = resources.files("vitfaith.figures.page").joinpath("template.html").read_text(encoding="utf-8")
    script = resources.files("vitfaith.figures.page").joinpath("template.js").read_text(encoding="utf-8")
    held = json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    filled = template.replace("{{title}}", escape(f"vitfaith: {data['experiment']}"))
    return filled.replace("{{script}}", script).replace("{{data}}", held)

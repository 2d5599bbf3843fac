"""The page stage: one HTML file with an experiment's leaderboards, curves and images; it needs no server and no network."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment

from vitfaith.artifacts.provenance import provenance
from vitfaith.artifacts.record import record_beside, write_record
from vitfaith.artifacts.store import atomic_path
from vitfaith.figures.drawing.data import read_tables
from vitfaith.figures.drawing.style import Style
from vitfaith.figures.page.charts import charts
from vitfaith.figures.page.data import page_data
from vitfaith.figures.page.library import library
from vitfaith.figures.page.sample import LIMIT, sample_data

TABLES = ("summary", "statistics", "conditions", "explained", "curves")
SAMPLE = ("sample", "sample_scores", "sample_pairs", "sample_pictures")
SCRIPTS = ("core", "board", "curves", "maps", "images", "main")


def run_page(spec: Mapping[str, Any], code: str, tables: Path, out: Path) -> None:
    """Write the page of an experiment from the Parquet files in ``tables``, and its record.

    Raises:
        ArtifactError: a table is missing.
    """
    style = Style(**spec["style"])
    data = page_data(**read_tables(tables, TABLES, "the page"), spec=spec, style=style) | {"charts": charts()}
    held = read_tables(tables, SAMPLE, "the page")
    named = {name.removeprefix("sample_"): frame for name, frame in held.items()}
    room = LIMIT - len(page({**data, "sample": {}}).encode())
    data["sample"] = sample_data(**named, style=style, total=spec["images"], room=room)
    with atomic_path(out) as temporary:
        temporary.write_text(page(data), encoding="utf-8")
    write_record(record_beside(out), provenance("page", spec, code), [out])


def page(data: Mapping[str, Any]) -> str:
    """The page around ``data``; no text of the data can end the element that holds it."""
    folder = resources.files("vitfaith.figures.page")

    def read(name: str) -> str:
        return folder.joinpath(name).read_text(encoding="utf-8")

    held = json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    template = Environment(autoescape=True, keep_trailing_newline=True).from_string(read("template.html.j2"))
    return template.render(
        title=f"{data['experiment']}: faithfulness of explanations",
        style=read("style.css"),
        data=held,
        library=library(),
        scripts="\n".join(read(f"{name}.js") for name in SCRIPTS),
    )

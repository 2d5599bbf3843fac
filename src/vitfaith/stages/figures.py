"""The figures stage: one figure from an experiment's tables, as PDF, SVG and PNG, and its caption."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vitfaith.artifacts.provenance import provenance
from vitfaith.artifacts.record import record_beside, write_record
from vitfaith.artifacts.store import atomic_path
from vitfaith.figures.caption import caption
from vitfaith.figures.drawing.data import FigureData, read_tables
from vitfaith.figures.drawing.save import save_figure
from vitfaith.figures.drawing.style import Style
from vitfaith.figures.registry import FIGURES


def run_figure(spec: Mapping[str, Any], code: str, tables: Path, out: Path) -> None:
    """Draw the figure of ``spec`` from the Parquet files in ``tables``; ``out`` is the path without suffix.

    The caption goes beside it, as reStructuredText (``.rst``), and a record of all four files.

    Raises:
        ArtifactError: a table that the figure needs is missing.
    """
    figure = FIGURES.from_spec(spec["figure"])
    reads = figure.traits.get("reads")
    parts = reads(figure.parameters) if reads else {}
    frames = read_tables(tables, figure.traits["needs"], f"figure '{figure.name}'", parts)
    data, style = FigureData(**frames), Style(**spec["style"])
    with style.context_of_drawing():
        picture = figure.implementation(data, figure.parameters, style)
        paths = save_figure(picture, out)
    text = caption(figure, data, spec.get("seed"), spec.get("fills"))
    described = out.with_name(f"{out.name}.rst")
    with atomic_path(described) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
    write_record(record_beside(described), provenance("figures", spec, code), [*paths, described])

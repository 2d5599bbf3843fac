"""The registry of figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

from vitfaith.registry import Parameters, Registry

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

    from vitfaith.figures.drawing.data import FigureData, Part
    from vitfaith.figures.drawing.style import Style

Table = Literal[
    "summary",
    "scores",
    "curves",
    "stability",
    "predictions",
    "gallery",
    "statistics",
    "agreement",
    "costs",
    "certificates",
    "attacks",
    "smoothings",
    "trainings",
    "pairs",
    "explained",
]
"""Tables that a figure may read; each is one file ``{table}.parquet`` of an experiment."""

Category = Literal["faithfulness", "robustness", "examples", "metrics", "cost"]
"""Where a report files a figure."""

Draw = TypeVar("Draw", bound="Callable[[FigureData, Any, Style], Figure]")

FIGURES: Registry = Registry("figure", needs=get_args(Table), category=get_args(Category))
"""Entries are ``draw(data, parameters, style) -> Figure`` with the traits of :func:`figure`."""


def figure(
    name: str,
    *,
    needs: tuple[Table, ...],
    rows: Callable[[FigureData, Any], DataFrame],
    title: str,
    caption: str,
    category: Category,
    parameters: type[Parameters] = Parameters,
    citation: str = "",
    reads: Callable[[Any], Mapping[Table, Part]] | None = None,
) -> Callable[[Draw], Draw]:
    """Register ``draw(data, parameters, style) -> matplotlib.figure.Figure`` under ``name``.

    Args:
        needs: tables it reads.
        rows: ``rows(data, parameters)`` returns exactly the values that are plotted; captions take their counts from it.
        title: one line for reports.
        caption: reStructuredText that describes the figure and how to read it; counts are appended by
            :func:`vitfaith.figures.caption.caption`, and ``{name}`` stands for the parameter ``name``.
        reads: ``reads(parameters)`` names columns and rows of tables with one row per image; default: all are read.
        category: section of a report that shows the figure.
    """
    return FIGURES.register(
        name,
        parameters=parameters,
        citation=citation,
        needs=needs,
        rows=rows,
        title=title,
        caption=caption,
        category=category,
        reads=reads,
    )

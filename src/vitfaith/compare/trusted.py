"""Which metric to trust, from folders of results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import pandas as pd

from vitfaith.compare.folder import read_scores, traits
from vitfaith.errors import InputError
from vitfaith.figures.drawing.names import decimal
from vitfaith.figures.drawing.save import FORMATS, render_bytes
from vitfaith.figures.drawing.style import Style
from vitfaith.figures.drawing.trust import draw_trust
from vitfaith.statistics.trust import QUANTITIES
from vitfaith.tables.collect import CONDITION, condition_text, tells
from vitfaith.tables.text import markdown_table
from vitfaith.tables.trust import trust_table


def trust_of_folders(
    results: Path,
    chosen: Mapping[str, str],
    truth: Sequence[str],
    others: Mapping[str, Path],
    *,
    baseline: str = "random",
    resamples: int = 2000,
) -> pd.DataFrame:
    """The table of :func:`~vitfaith.tables.trust.trust_table` for the scores in ``results``.

    Args:
        chosen: column of the scores → the one value to keep.
        others: name → results of the same methods under another choice.
    """
    there = {name: value for name, value in chosen.items() if name not in ("dataset", "model")}
    compared = {name: read_scores(folder, there) for name, folder in others.items()}
    found = {**{k: v for folder in others.values() for k, v in traits(folder).items()}, **traits(results)}
    directions = {metric: trait["direction"] for metric, trait in found.items()}
    scores = read_scores(results, chosen)
    for metric in {str(name) for frame in (scores, *compared.values()) for name in frame["metric"].unique()}:
        directions.setdefault(metric, "none")  # a plugin's, whose direction nobody here knows
    return trust_table(scores, directions, truth=truth, others=compared, baseline=baseline, resamples=resamples)


def unknown(table: pd.DataFrame, baseline: str) -> list[str]:
    """Why numbers are missing in every row of a quantity, a line each."""
    missing = {str(name) for name, part in table.groupby("quantity") if part["value"].isna().all()}
    lines = []
    if "separation" in missing:
        lines.append(
            f"separation needs scores of '{baseline}' and of another method on the same images; name another method whose maps "
            "say nothing by --baseline, or leave out --where method="
        )
    others = sorted(missing & {"alpha", "split_half", "truth", "robustness"})
    if others:
        lines.append(
            f"{', '.join(others)} compare orders: they need two methods besides '{baseline}', two images and values that differ"
        )
    return lines


def draw(table: pd.DataFrame, path: Path) -> None:
    """Draw the table of one condition into ``path``.

    Raises:
        InputError: it is of several conditions, or the ending is none of PDF, PNG, SVG.
    """
    if len(table.drop_duplicates(CONDITION)) > 1:
        raise InputError(
            "a figure needs one condition; name it by --where, as in --where attack=clean --where model=vit"
        )
    kind = path.suffix.removeprefix(".")
    if kind not in FORMATS:
        raise InputError(f"'{path}' ends in '{path.suffix}'; give .{', .'.join(FORMATS)}")
    style = Style(columns="two")
    with style.context_of_drawing():
        path.write_bytes(render_bytes(draw_trust(table, style), kind))


def trust_text(table: pd.DataFrame, form: Literal["markdown", "latex", "csv"]) -> str:
    """The table as text: one table per condition, one row per metric; CSV has all numbers."""
    if form == "csv":
        return table.to_csv(index=False, float_format="%.6g", lineterminator="\n")
    told, parts = tells(table), []
    for values, part in table.groupby(CONDITION, sort=False, observed=True):
        columns = [(q, o) for q in QUANTITIES for o in dict.fromkeys(part[part["quantity"] == q]["other"])]
        cells = {(row.metric, row.quantity, row.other): _cell(row) for row in part.itertuples()}
        order = part[part["quantity"] == "separation"].sort_values("value", ascending=False, kind="stable")
        rows = [
            [row.metric, *(cells.get((row.metric, q, o), "") for q, o in columns), row.n] for row in order.itertuples()
        ]
        header = ["Metric", *(f"{q.replace('_', '-')} {o}".strip() for q, o in columns), "n"]
        if form == "latex":
            parts.append(pd.DataFrame(rows, columns=header).style.hide().to_latex(hrules=True))
        else:
            parts.append(f"### {condition_text(values, explained=told)}\n\n{markdown_table(header, rows)}\n")
    return "\n".join(parts)


def _cell(row: object) -> str:
    value, low, high = (float(getattr(row, name)) for name in ("value", "low", "high"))
    if value != value:
        return "–"
    return decimal(value, 2) if low != low else f"{decimal(value, 2)} [{decimal(low, 2)}, {decimal(high, 2)}]"

"""Comparisons as text: tables of any folder of results, and differences between two runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from vitfaith.compare.folder import KEYS, map_files, read_folds, traits
from vitfaith.compare.runs import Difference
from vitfaith.explained import CLEAN_PREDICTION, COLUMN
from vitfaith.statistics import COVERAGE, paired_comparisons, small_sample_note, summarise_compared
from vitfaith.tables.boards import boards_text
from vitfaith.tables.cells import mark_of
from vitfaith.tables.collect import CONDITION, condition_text, sort_rows, tells
from vitfaith.tables.maps import summary_of_files
from vitfaith.tables.pooled import pooled_summary
from vitfaith.tables.text import markdown_table

Format = Literal["markdown", "latex", "csv"]


def results_table(
    results: Sequence[Path], chosen: Mapping[str, str], form: Format, *, baseline: str, statistics: Mapping[str, Any]
) -> str:
    """Leaderboards of every condition in folders of results, or all means as CSV.

    Args:
        results: folders of results; their images are pooled, so no image may be in two.
        chosen: column of the scores → the one value to keep.
        baseline: method that the stars refer to.
        statistics: confidence, resamples, seed and coverage.
    """
    scores = read_folds(results, chosen)
    known = {metric: trait for folder in results for metric, trait in traits(folder).items()}
    how = {metric: trait["pooled"] for metric, trait in known.items() if trait.get("pooled")}
    pooled = scores["metric"].isin(list(how))
    single = scores[~pooled].assign(reference="")
    found = [summarise_compared(single, by=[*KEYS, "reference"], **statistics)] if len(single) else []
    found += [pooled_summary(scores[pooled], how, **statistics)] if pooled.any() else []
    summary = sort_rows(pd.concat(found, ignore_index=True), KEYS)
    if form == "csv":
        return summary.to_csv(index=False, float_format="%.6g", lineterminator="\n")
    better = {metric: trait["direction"] for metric, trait in known.items()}
    tests = paired_comparisons(single, by=[*CONDITION, "metric", "variant"], **statistics)
    maps = summary_of_files(path for folder in results for path in map_files(folder))
    return boards_text(summary, tests, better, form, baseline, statistics.get("coverage", COVERAGE), maps)


def difference_text(found: Difference) -> str:
    """Differences as Markdown: settings and code first, then changed scores, largest change first."""
    place = CONDITION.index(COLUMN)
    told = tells(found.scores) or any(key[place] != CLEAN_PREDICTION for key in (*found.only_a, *found.only_b))
    lines = []
    if found.settings:
        lines += ["### Settings and code", "", markdown_table(["stage", "setting", "A", "B"], found.settings), ""]
    for name, keys in (("A", found.only_a), ("B", found.only_b)):
        if keys:
            lines += [f"### Only in {name}", ""] + [f"- {_told(key, told)}" for key in keys] + [""]
    moved = found.scores[found.scores["moved"]]
    lines += ["### Scores", ""]
    lines.append(f"{len(moved)} of {len(found.scores)} means moved.")
    if len(moved):
        order = moved["difference"].abs().sort_values(ascending=False, kind="stable", na_position="last").index
        ordered = moved.loc[order]
        above, below = ordered[ordered["compared"]], ordered[~ordered["compared"]]
        head = ["condition", "method", "metric", "A", "B", "B − A", "n"]
        rows = [_cells(row, told) for _, row in above.iterrows()]
        if len(below):
            few = f"*fewer than {100 * found.coverage:g} % of the images in both runs: no test*"
            rows += [[few, *[""] * (len(head) - 1)], *(_cells(row, told) for _, row in below.iterrows())]
        lines += ["", markdown_table(head, rows)]
        family = int(found.scores["p_adjusted"].notna().sum())
        lines += [
            "",
            "Means and intervals of the mean difference are over the images with a value in both runs; stars: Wilcoxon "
            f"signed-rank test, Holm over the {family} means that both runs have.",
            *filter(None, [small_sample_note(int(moved["n"].min()))]),
        ]
    return "\n".join([*lines, ""])


def _told(key: Sequence[str], told: bool) -> str:
    rest = key[len(CONDITION) :]
    return " · ".join(filter(None, [condition_text(key[: len(CONDITION)], explained=told), *rest]))


def _cells(row: pd.Series, told: bool) -> list[str]:
    condition = condition_text([row[c] for c in CONDITION], explained=told)
    metric = f"{row['metric']} {row['variant']}".strip()
    mark = mark_of(float(row["p_adjusted"])).replace("*", r"\*")
    shift = f"{row['difference']:+.4g}{mark} [{row['low']:+.4g}, {row['high']:+.4g}]"
    return [condition, str(row["method"]), metric, f"{row['a']:.4g}", f"{row['b']:.4g}", shift, _count(row)]


def _count(row: pd.Series) -> str:
    return str(row["n"]) if row["n"] == row["asked"] else f"{row['n']} of {row['asked']}"

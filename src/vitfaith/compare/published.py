"""Values that papers and their reproductions published, beside the values of a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from scipy.stats import kendalltau

from vitfaith.compare.folder import KEYS, read_scores, traits
from vitfaith.errors import ArtifactError
from vitfaith.explained import CLEAN_PREDICTION, COLUMN
from vitfaith.statistics import small_sample_note, summarise_compared
from vitfaith.tables.collect import CONDITION, condition_text, tells
from vitfaith.tables.pooled import pooled_summary
from vitfaith.tables.text import markdown_table

COLUMNS = ("table", *(key for key in KEYS if key != COLUMN), "value", "status", "source")
STATUSES = {
    "confirmed": "read in the named source",
    "digitised": "measured in a figure of the named source",
    "reproduction": "measured by others, not by the paper's authors",
    "unconfirmed": "recalled; nobody here has seen the source",
}
"""Meaning of a value's ``status``."""

_FEWEST = 3
"""Methods from which on the order of a column is compared."""


def read_published(path: Path) -> pd.DataFrame:
    """Published values: columns :data:`COLUMNS`, ``value`` float64 on the metric's own scale, the others text.

    An empty ``dataset`` or ``model`` means the mean over all that a run has. The column ``explained`` may be left out:
    then all maps explain the clean prediction.

    Raises:
        ArtifactError: no such file, a column is missing, or a value or status is none.
    """
    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    except FileNotFoundError:
        known = ", ".join(sorted(p.stem for p in path.parent.glob("*.csv"))) or "none"
        raise ArtifactError(f"'{path}' does not exist; papers with published values there: {known}") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise ArtifactError(f"'{path}' is no CSV: {error}") from error
    missing = [c for c in COLUMNS if c not in frame.columns]
    if missing:
        raise ArtifactError(f"'{path}' has no column '{missing[0]}'; it needs {', '.join(COLUMNS)}")
    numbers = pd.to_numeric(frame["value"], errors="coerce")
    for line, (value, status) in enumerate(zip(numbers, frame["status"], strict=True), start=2):
        if not pd.notna(value):
            raise ArtifactError(f"'{path}', line {line}: value '{frame['value'].iloc[line - 2]}' is no number")
        if status not in STATUSES:
            raise ArtifactError(f"'{path}', line {line}: status '{status}' is none of {', '.join(STATUSES)}")
    if COLUMN not in frame:
        frame = frame.assign(**{COLUMN: CLEAN_PREDICTION})
    return frame.assign(value=numbers)


def beside(published: pd.DataFrame, results: Path, statistics: Mapping[str, Any]) -> pd.DataFrame:
    """``published`` with columns ours, low, high, n: the same mean in a folder of results, NaN and 0 where it has none.

    Means are over the images that all compared methods of the run have; a method that has too few of them (``compared`` is
    false) has the mean over its own images, and is in no order of methods.

    Where a row names no model (or dataset), scores are averaged over the run's models (datasets) first, image by image,
    and over images then.

    Args:
        published: from :func:`read_published`.
        results: folder of a run.
        statistics: confidence, resamples and seed of the intervals.

    Raises:
        ArtifactError: there are no scores.
    """
    scores = read_scores(results, {})
    how = {id_: str(trait["pooled"]) for id_, trait in traits(results).items() if trait.get("pooled")}
    numbered = published.reset_index(names="_row")
    rows = []
    for key, group in numbered.groupby(["dataset", "model"], sort=False):
        dataset, model = map(str, key)
        part = scores[(scores["dataset"] == dataset) | (dataset == "")]
        part = part[(part["model"] == model) | (model == "")].assign(dataset=dataset, model=model)
        rows.append(group.merge(_summary(part, how, statistics), on=list(KEYS), how="left"))
    found = pd.concat(rows, ignore_index=True).sort_values("_row", ignore_index=True).drop(columns="_row")
    return found.assign(n=found["n"].fillna(0).astype(int))


def _summary(scores: pd.DataFrame, how: Mapping[str, str], statistics: Mapping[str, Any]) -> pd.DataFrame:
    kept = [*KEYS, "mean", "low", "high", "n", "compared", "asked"]
    each = ["image_id", *KEYS, *(["cluster"] if "cluster" in scores else [])]
    # a value is missing where one of the models has none, as a mean over fewer models is another quantity
    values = scores.groupby(each, sort=False, dropna=False)["value"].agg(lambda v: v.mean(skipna=False)).reset_index()
    pooled = values["metric"].isin(list(how))
    parts = [summarise_compared(values[~pooled], by=list(KEYS), **statistics)] if not pooled.all() else []
    if pooled.any():
        parts.append(pooled_summary(values[pooled], how, **statistics))
    if not parts:  # the run has nothing of this data set and model
        return pd.DataFrame(columns=kept).rename(columns={"mean": "ours"})
    frame = pd.concat(parts, ignore_index=True)
    for name in ("n", "mean", "low", "high"):
        # a method that is not compared still has a value to stand beside the published one
        frame[name] = frame[name].where(frame["compared"].astype(bool), frame[f"{name}_own"])
    return frame[kept].rename(columns={"mean": "ours"})


def published_text(found: pd.DataFrame) -> str:
    """Ours beside published, as Markdown: one table for each of the paper's, and how well the orders of methods agree."""
    lines, told = [], tells(found)
    for title, rows in found.groupby("table", sort=False):
        head = ["condition", "method", "metric", "ours", "n", "published", "status"]
        lines += [f"### {title}", "", markdown_table(head, [_cells(row, told) for _, row in rows.iterrows()])]
        lines += ["", *_orders(rows)]
        lines += [f"Source: {source}." for source in dict.fromkeys(rows["source"])] + [""]
    used = [s for s in STATUSES if s in set(found["status"])]
    lines.append(
        "Status: " + "; ".join(f"{s}, {STATUSES[s]}" for s in used) + ". Intervals are of our mean over images."
    )
    apart = found[(found["n"] > 0) & ~found["compared"].eq(True)]
    if len(apart):
        names = ", ".join(
            dict.fromkeys(
                f"{m} ({int(n)} of {int(a)} images)"
                for m, n, a in zip(apart["method"], apart["n"], apart["asked"], strict=True)
            )
        )
        lines.append(f"In no order of methods, for lack of images: {names}.")
    lines += filter(None, [small_sample_note(int(found["n"][found["n"] > 0].min()) if (found["n"] > 0).any() else 0)])
    absent = int((found["n"] == 0).sum())
    if absent:
        lines.append(f"{absent} of {len(found)} published values have no counterpart in these results.")
    return "\n".join([*lines, ""])


def _cells(row: pd.Series, told: bool) -> list[str]:
    condition = condition_text([str(row[c]) or f"mean of {c}s" for c in CONDITION], explained=told)
    metric = f"{row['metric']} {row['variant']}".strip()
    ours = "–" if row["n"] == 0 else f"{row['ours']:.4g} [{row['low']:.4g}, {row['high']:.4g}]"
    return [condition, row["method"], metric, ours, str(row["n"]), f"{row['value']:.4g}", row["status"]]


def _orders(rows: pd.DataFrame) -> list[str]:
    """A line for each column of three methods or more that both have."""
    found = []
    place = [*CONDITION, "metric", "variant"]
    for key, group in rows[(rows["n"] > 0) & rows["compared"].eq(True)].groupby(place, sort=False):
        if len(group) >= _FEWEST:
            tau = kendalltau(group["ours"], group["value"]).statistic
            name = " ".join(filter(None, map(str, key[len(CONDITION) :])))
            found.append(f"Order of {len(group)} methods by {name}: Kendall's τ {tau:.2f}.")
    return [*found, ""] if found else []

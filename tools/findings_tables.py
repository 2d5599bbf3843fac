"""What the scripts that print findings share: an experiment's tables, Markdown, and words for counts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from vitfaith.tables.text import markdown_table

TOP_PATCHES = "k=0.2"
"""Variant of the overlap that the pages show."""


def read(folder: Path, experiment: str, name: str) -> pd.DataFrame:
    """A table of an experiment, with plain strings for categories."""
    frame = pd.read_parquet(folder / f"experiment={experiment}" / f"{name}.parquet")
    for column in frame.select_dtypes("category"):
        frame[column] = frame[column].astype(str)
    return frame


def interval(row: pd.Series, digits: int = 2) -> str:
    """Mean and interval as text; of a method that is not compared, the mean over its own images and their number."""
    if not row.get("compared", True):
        return f"not compared; {row['mean_own']:.{digits}f} on {row['n_own']} of {row['asked']} images"
    return f"{row['mean']:.{digits}f} [{row['low']:.{digits}f}, {row['high']:.{digits}f}]"


def markdown(frame: pd.DataFrame, corner: str = "") -> str:
    """A data frame as a Markdown table."""
    head = [corner, *map(str, frame.columns)]
    return markdown_table(head, [[index, *row] for index, row in zip(frame.index, frame.to_numpy(), strict=True)])


def listed(words: Sequence[str]) -> str:
    """Words as a list in a sentence: ``a, b and c``."""
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def share(count: int, total: int) -> str:
    """How many of how many: ``all 12``, ``none of 12``, ``11 of 12``."""
    return f"none of {total}" if count == 0 else f"all {total}" if count == total > 1 else f"{count} of {total}"


def top_patches(summary: pd.DataFrame, reference: str = "clean") -> pd.DataFrame:
    """Rows of the overlap of the top 20 % of patches with the map under ``reference``, behind the same smoothing where that is clean."""
    return summary[
        (summary.metric == "top_k_overlap") & (summary.reference == reference) & (summary.variant == TOP_PATCHES)
    ]

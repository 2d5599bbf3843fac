"""Data frames as JSON for the page: column by column, texts once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vitfaith.lazy import np

if TYPE_CHECKING:
    from pandas import DataFrame

DIGITS = 5
"""Significant digits in the page; the Parquet files have all."""


def rounded(value: float, digits: int = DIGITS) -> float | None:
    """A number for JSON, which has no NaN."""
    return float(f"{value:.{digits}g}") if np.isfinite(value) else None


def packed(frame: DataFrame, texts: Sequence[str], numbers: Sequence[str]) -> dict[str, Any]:
    """Some columns of ``frame``: name → ``{"levels": …, "codes": …}`` for ``texts``, name → list for ``numbers``."""
    import pandas as pd

    found: dict[str, Any] = {}
    for name in texts:
        codes, levels = pd.factorize(frame[name].astype(str))
        found[name] = {"levels": list(map(str, levels)), "codes": codes.tolist()}
    for name in numbers:
        values = frame[name]
        whole = values.dtype.kind in "iub"
        found[name] = [int(v) for v in values] if whole else [rounded(float(v)) for v in values]
    return found

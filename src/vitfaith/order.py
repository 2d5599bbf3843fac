"""Names in the order that a reader expects: numbers inside them count as numbers."""

from __future__ import annotations

import re
from collections.abc import Iterable


def natural(text: str) -> tuple[tuple[int, float, str], ...]:
    """Sort key that puts ``k=5`` before ``k=10``, ``0.05`` before ``0.1`` and ``1e-05`` before both."""
    parts = re.split(r"((?:(?<==)-)?\d+(?:\.\d+)?(?:e[+-]?\d+)?)", text)
    return tuple((0, float(p), "") if i % 2 else (1, 0.0, p) for i, p in enumerate(parts) if p)


def natural_order(names: Iterable[str]) -> dict[str, int]:
    """Name → place in the order of :func:`natural`, to sort a column by."""
    return {name: i for i, name in enumerate(sorted(set(names), key=natural))}

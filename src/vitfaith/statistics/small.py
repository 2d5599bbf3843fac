"""A note where there are few images."""

from __future__ import annotations

SMALL = 20
"""Fewer images (or clusters of them) than this get a note: see ``docs/statistics.md`` for the coverage behind it."""


def small_sample_note(n: int, unit: str = "images") -> str:
    """Sentence on how far intervals over ``n`` images hold; empty for :data:`SMALL` images and more, and for none."""
    if not 0 < n < SMALL:
        return ""
    return (
        f"With n = {n} {unit} intervals are too narrow (below {SMALL}, 95 % bootstrap intervals cover 84 to 92 %) and tests find "
        "large differences only."
    )

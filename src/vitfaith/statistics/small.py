"""A note about few images."""

from __future__ import annotations

SMALL = 20
"""Fewer images (or clusters) than this number give a note; ``docs/statistics.md`` has the measured coverage."""


def small_sample_note(n: int, unit: str = "images") -> str:
    """Sentence on the coverage of intervals over ``n`` images; empty for at least :data:`SMALL` images, and for none."""
    if not 0 < n < SMALL:
        return ""
    return (
        f"With n = {n} {unit} intervals are too narrow (below {SMALL}, 95 % bootstrap intervals cover 84 to 92 %) and tests find "
        "large differences only."
    )

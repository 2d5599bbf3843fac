"""Everything that says from outside what a metric must give; each registered metric has at least one entry."""

from __future__ import annotations

from tests.metrics.oracles import curves, ground_truth, loops, packages
from tests.oracle import Oracle

__all__ = ["ORACLES"]

ORACLES: list[Oracle] = sorted(
    [*packages.ORACLES, *curves.ORACLES, *loops.ORACLES, *ground_truth.ORACLES], key=lambda oracle: oracle.subject
)

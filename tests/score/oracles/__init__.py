"""Everything that says from outside what a metric must give; each registered metric has at least one entry."""

from __future__ import annotations

from tests.oracle import Oracle
from tests.score.oracles import curves, ground_truth, loops, packages

__all__ = ["ORACLES"]

ORACLES: list[Oracle] = sorted(
    [*packages.ORACLES, *curves.ORACLES, *loops.ORACLES, *ground_truth.ORACLES], key=lambda oracle: oracle.subject
)

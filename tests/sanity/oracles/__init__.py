"""Everything that says from outside what a sanity check must give; each registered one has at least one entry."""

from __future__ import annotations

from tests.oracle import Oracle
from tests.sanity.oracles import loops, packages

ORACLES: list[Oracle] = sorted([*packages.ORACLES, *loops.ORACLES], key=lambda oracle: oracle.subject)

"""Everything that says from outside what an explainer must give; each registered explainer has at least one entry.

Each entry computes (ours, theirs) on one tiny model. The tests hold the error under the entry's tolerance; the
conformance page (``python -m benchmarks.conformance``) prints the error itself.
"""

from __future__ import annotations

from tests.explainers.oracles import cam_packages, families, learned, loops, packages, stored, zennit_package
from tests.explainers.oracles.base import Oracle, Pair

__all__ = ["ORACLES", "Oracle", "Pair"]

ORACLES: list[Oracle] = sorted(
    [
        *packages.ORACLES,
        *cam_packages.ORACLES,
        *zennit_package.ORACLES,
        *stored.ORACLES,
        *loops.ORACLES,
        *families.ORACLES,
        *learned.ORACLES,
    ],
    key=lambda oracle: oracle.subject,
)

"""What several benchmarks ask of the registry."""

from __future__ import annotations

from vitfaith.explainers.registry import EXPLAINERS
from vitfaith.registry import Entry


def one_pass() -> list[Entry]:
    """Explainers that share one pass and work on any model; those with files trained for one model are left out."""
    return [e for e in EXPLAINERS if e.traits["family"] == "one_pass" and not e.traits.get("model_files")]

"""The stability stage: comparison of a condition's maps with the maps of the clean image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vitfaith.artifacts.maps import read_explained, read_maps, read_raw_maps
from vitfaith.artifacts.provenance import provenance
from vitfaith.artifacts.schemas import STABILITY
from vitfaith.artifacts.store import write_table
from vitfaith.errors import ArtifactError
from vitfaith.registry import Item
from vitfaith.stability.compare import stability_table
from vitfaith.stability.registry import STABILITY_MEASURES


def run_stability(spec: Mapping[str, Any], code: str, maps: Path, out: Path, **references: Path | None) -> None:
    """Compare a shard's maps with the maps of each reference condition (``references``: name → file, None without one).

    Pairs that explain different classes are flagged "other class", except for the methods ``spec["class_agnostic"]``, whose maps
    explain no class.

    Raises:
        ArtifactError: a reference lacks a method or holds other images.
    """
    measures = STABILITY_MEASURES.from_specs(spec["measures"])
    given = {name: path for name, path in references.items() if path is not None}
    parts = [STABILITY.empty_table()]
    for raw in (False, True):
        asked = {id_: measure for id_, measure in measures.items() if measure.traits["scale_dependent"] == raw}
        if asked:
            parts += _compared(maps, given, asked, spec.get("class_agnostic", ()), raw=raw)
    write_table(pa.concat_tables(parts), out, STABILITY, provenance("stability", spec, code))


def _compared(
    path: Path, references: Mapping[str, Path], measures: Mapping[str, Item], agnostic: Sequence[str], *, raw: bool
) -> list[pa.Table]:
    """Rows of ``measures`` for each reference and method; ``raw``: of the means of the maps as the explainers gave them."""
    own, parts = _maps(path, raw), []
    explained = read_explained(path)
    for name, other in sorted(references.items()):
        others, explained_there = _maps(other, raw), read_explained(other)
        for method, (ids, values) in own.items():
            if method not in others:
                raise ArtifactError(
                    f"'{other}' has no maps of '{method}'; name the explainer in every experiment with these conditions"
                )
            if others[method][0] != ids:
                raise ArtifactError(f"'{other}' and '{path}' hold different images; delete both and run again")
            moved = None if method in agnostic else explained[method] != explained_there[method]
            parts.append(stability_table(ids, method, name, values, others[method][1], measures, moved))
    return parts


def _maps(path: Path, raw: bool) -> dict[str, tuple[list[str], NDArray[np.float32]]]:
    means = read_raw_maps(path) if raw else None
    return read_maps(path) if means is None else means

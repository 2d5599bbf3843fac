"""The stability stage: how far the maps of a condition are from those of the clean image."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from vitfaith.artifacts.maps import read_maps
from vitfaith.artifacts.provenance import provenance
from vitfaith.artifacts.schemas import STABILITY
from vitfaith.artifacts.store import write_table
from vitfaith.errors import ArtifactError
from vitfaith.registries import entries_of
from vitfaith.stability.compare import stability_table


def run_stability(spec: Mapping[str, Any], code: str, maps: Path, references: Mapping[str, Path], out: Path) -> None:
    """Compare a shard's maps with those of each reference condition (``references``: name → file).

    Raises:
        ArtifactError: a reference lacks a method or holds other images.
    """
    own = read_maps(maps)
    measures = entries_of(spec["measures"], "stability")
    parts = []
    for name, path in sorted(references.items()):
        others = read_maps(path)
        for method, (ids, values) in own.items():
            if method not in others:
                raise ArtifactError(
                    f"'{path}' has no maps of '{method}'; name the explainer in every experiment with these conditions"
                )
            if others[method][0] != ids:
                raise ArtifactError(f"'{path}' and '{maps}' hold different images; delete both and run again")
            parts.append(stability_table(ids, method, name, values, others[method][1], measures))
    write_table(pa.concat_tables(parts), out, STABILITY, provenance("stability", spec, code))

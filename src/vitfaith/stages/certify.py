"""The certify stage: radii from the per-sample maps and predictions that other stages stored; no network runs here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from vitfaith.artifacts.maps import read_sample_maps
from vitfaith.artifacts.provenance import provenance
from vitfaith.artifacts.schemas import CERTIFICATES as ROWS
from vitfaith.artifacts.schemas import IMAGES, VOTES
from vitfaith.artifacts.store import read_table, write_table
from vitfaith.certificates.radii.rows import Votes, joint_rows, map_rows, prediction_rows
from vitfaith.certificates.registry import CERTIFICATES as REGISTERED
from vitfaith.certificates.settings import FaithfulnessSettings, MapSettings, SplitSamples
from vitfaith.errors import ArtifactError


def read_votes(path: Path) -> Votes:
    """Class predictions of each noise sample of a prediction file."""
    table = read_table(path, VOTES)
    return Votes(
        table.column("image_id").to_pylist(),
        table.column("label").to_numpy(),
        np.array(table.column("sample_predictions").to_pylist(), dtype=np.int64),
        np.array(table.column("probabilities").to_pylist(), dtype=np.float64),
    )


def run_certify(
    spec: Mapping[str, Any], code: str, images: Path, predictions: Path, maps: Sequence[Path], out: Path
) -> None:
    """Certify the predictions and the maps of one shard behind a smoothing (schema CERTIFICATES).

    Raises:
        ConfigError: a k that does not fit the maps, or too few samples for any certificate.
        ArtifactError: files of other images or of other numbers of samples.
    """
    first = read_table(images, pa.schema([IMAGES.field(c) for c in ("image_id", "channels", "height", "width")]))
    dimensions = int(np.prod([first.column(c)[0].as_py() for c in ("channels", "height", "width")]))
    ids = first.column("image_id").to_pylist()
    votes = read_votes(predictions)
    items = REGISTERED.from_specs(spec["certificates"])
    kinds = {id_: item.traits["certifies"] for id_, item in items.items()}
    parts = []
    if votes.image_ids != ids:
        raise ArtifactError(f"'{predictions}' holds predictions of other images than '{images}'; run predict again")
    for id_, item in items.items():
        settings = item.parameters
        if isinstance(settings, SplitSamples) and kinds[id_] == "prediction":
            parts.append(prediction_rows(id_, settings, votes, spec["sigma"], dimensions))
    for path in maps:
        for method, (owners, sampled) in read_sample_maps(path).items():
            if owners != ids or sampled.shape[1] != votes.classes.shape[1]:
                raise ArtifactError(f"'{path}' holds maps of other images or samples than '{predictions}'")
            sampled = sampled.reshape(*sampled.shape[:2], -1)
            swaps: dict[Any, Any] = {}
            for id_, item in items.items():
                settings = item.parameters
                shared = {"votes": votes, "sigma": spec["sigma"], "dimensions": dimensions, "seed": spec["seed"]}
                if isinstance(settings, MapSettings) and kinds[id_] == "map":
                    parts += map_rows(id_, item.name, settings, method, sampled, swaps=swaps, **shared)
                elif isinstance(settings, FaithfulnessSettings):
                    parts += joint_rows(id_, settings, method, sampled, swaps=swaps, **shared)
    facts = provenance("certify", spec, code, forwards=0)
    write_table(pa.concat_tables(parts), out, ROWS, facts)

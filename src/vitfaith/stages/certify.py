"""The certify stage: radii from the per-sample maps and predictions that other stages stored; no network runs here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from vitfaith.artifacts.maps import read_sample_maps
from vitfaith.artifacts.provenance import provenance
from vitfaith.artifacts.schemas import CERTIFICATES as ROWS
from vitfaith.artifacts.schemas import IMAGES, VOTES
from vitfaith.artifacts.store import read_table, write_table
from vitfaith.certificates.radii.votes import Samples, Votes
from vitfaith.certificates.registry import CERTIFICATES as REGISTERED
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


def read_samples(spec: Mapping[str, Any], images: Path, predictions: Path, maps: Sequence[Path]) -> Iterator[Samples]:
    """The votes of a shard alone, then with the maps of each method.

    Raises:
        ArtifactError: files of other images or of other numbers of samples.
    """
    first = read_table(images, pa.schema([IMAGES.field(c) for c in ("image_id", "channels", "height", "width")]))
    dimensions = int(np.prod([first.column(c)[0].as_py() for c in ("channels", "height", "width")]))
    ids = first.column("image_id").to_pylist()
    votes = read_votes(predictions)
    if votes.image_ids != ids:
        raise ArtifactError(f"'{predictions}' holds predictions of other images than '{images}'; run predict again")
    shared = Samples(votes, spec["sigma"], dimensions, spec["seed"], noise=spec.get("noise", "gaussian"))
    yield shared
    for path in maps:
        for method, (owners, sampled) in read_sample_maps(path).items():
            if owners != ids or sampled.shape[1] != votes.classes.shape[1]:
                raise ArtifactError(f"'{path}' holds maps of other images or samples than '{predictions}'")
            flat = sampled.reshape(*sampled.shape[:2], -1)
            yield replace(shared, method=method, maps=flat, shared={})


def run_certify(
    spec: Mapping[str, Any], code: str, images: Path, predictions: Path, maps: Sequence[Path], out: Path
) -> None:
    """Certify the predictions and the maps of one shard behind a smoothing (schema CERTIFICATES).

    Raises:
        ConfigError: a k that does not fit the maps, too few samples for any certificate, or one that does not hold behind
            the noise.
        ArtifactError: files of other images or of other numbers of samples.
    """
    asked = REGISTERED.from_specs(spec["certificates"])
    parts: list[pa.Table] = []
    for samples in read_samples(spec, images, predictions, maps):
        for item in asked.values():
            parts += item.implementation(item.id, item.parameters, samples)
    facts = provenance("certify", spec, code, forwards=0)
    write_table(pa.concat_tables(parts), out, ROWS, facts)

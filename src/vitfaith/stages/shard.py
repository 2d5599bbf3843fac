"""The shard stage: the images of one shard, read from the dataset and written as Parquet."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from vitfaith.artifacts.images import encode_images, encode_truth
from vitfaith.artifacts.provenance import provenance
from vitfaith.artifacts.schemas import SHARDS
from vitfaith.artifacts.store import write_table
from vitfaith.datasets.opening import open_source
from vitfaith.datasets.subset import shard_count, shard_name, stratified_subset
from vitfaith.errors import ConfigError


def run_shard(spec: Mapping[str, Any], code: str, out: Path) -> None:
    """Write the shard ``spec['shard']`` of the stratified subset.

    Raises:
        ConfigError: the subset has no such shard.
        ArtifactError: the dataset cannot be read.
    """
    source = open_source(spec["reader"])
    chosen = stratified_subset(source.labels, spec["images"], spec["seed"])
    names = [shard_name(i) for i in range(shard_count(len(chosen), spec["shard_size"]))]
    if spec["shard"] not in names:
        raise ConfigError(
            f"shard '{spec['shard']}' does not exist; the dataset has {len(names)} of {spec['shard_size']} images"
        )
    start = names.index(spec["shard"]) * spec["shard_size"]
    part = chosen[start : start + spec["shard_size"]]
    columns = {
        "image_id": pa.array([source.image_ids[i] for i in part]),
        "label": pa.array(source.labels[part], pa.int32()),
        **encode_images(source.read(part)),
        **({} if source.masks is None else encode_truth(source.masks(part))),
        **({} if source.clusters is None else {"cluster": pa.array([source.clusters[i] for i in part], pa.string())}),
    }
    facts = {"classes": list(source.classes)} if source.classes else {}
    write_table(pa.table(columns), out, SHARDS, provenance("shard", spec, code, images=len(part), **facts))

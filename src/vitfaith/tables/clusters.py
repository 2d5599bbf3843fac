"""Which images belong together, from the shards of a dataset."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vitfaith.artifacts.paths import Condition, artifact
from vitfaith.artifacts.schemas import CLUSTER, SHARDS
from vitfaith.artifacts.store import open_parquet

KEYS = ["dataset", "image_id"]


def read_clusters(shards: Iterable[tuple[str, Path]]) -> pd.DataFrame:
    """Columns dataset, image_id, cluster of all images that have a cluster, from (dataset, file of a shard).

    Raises:
        ArtifactError: a file is missing or damaged.
    """
    parts = [pa.table({name: pa.array([], pa.string()) for name in (*KEYS, CLUSTER.name)})]
    for dataset, path in shards:
        if CLUSTER.name in open_parquet(path, SHARDS).schema_arrow.names:
            table = pq.read_table(path, columns=["image_id", CLUSTER.name], partitioning=None)
            table = table.filter(table.column(CLUSTER.name).is_valid())
            names = pa.array([dataset] * len(table), pa.string())
            parts.append(table.add_column(0, KEYS[0], names).cast(parts[0].schema))
    return pa.concat_tables(parts).to_pandas()


@dataclass(frozen=True)
class Images:
    """The images of a dataset.

    Attributes:
        names: (N,) sorted.
        clusters: (N,) cluster of each, None where it is alone; None where no image of the experiment has one.
        shards: (N,) shard that holds each.
    """

    names: pd.Index
    clusters: NDArray[np.object_] | None
    shards: NDArray[np.object_]

    @cached_property
    def cluster_of(self) -> dict[str, str | None] | None:
        """Image → its cluster, as paired tests want it."""
        return None if self.clusters is None else dict(zip(self.names, self.clusters, strict=True))


def read_images(spec: Mapping[str, Any], results: str) -> dict[str, Images]:
    """Dataset → its images, from the shards in an experiment's table specification.

    Raises:
        ArtifactError: a file is missing or damaged.
    """
    parts: dict[str, list[pd.DataFrame]] = {}
    for dataset, path in shards_of(spec, results):
        handle = open_parquet(path, SHARDS)
        columns = [name for name in ("image_id", CLUSTER.name) if name in handle.schema_arrow.names]
        frame = handle.read(columns=columns).to_pandas().astype(object).assign(shard=path.stem)
        parts.setdefault(dataset, []).append(frame)
    whole = {d: pd.concat(p).drop_duplicates("image_id").sort_values("image_id") for d, p in parts.items()}
    clustered = any(CLUSTER.name in f and f[CLUSTER.name].notna().any() for f in whole.values())
    found = {}
    for dataset, frame in whole.items():
        named = frame.reindex(columns=[CLUSTER.name])[CLUSTER.name].astype(object)
        clusters = named.where(named.notna(), None).to_numpy() if clustered else None
        found[dataset] = Images(pd.Index(frame["image_id"]), clusters, frame["shard"].to_numpy())
    return found


def shards_of(spec: Mapping[str, Any], results: str) -> list[tuple[str, Path]]:
    """(dataset, file) of the shards in an experiment's table specification."""
    return [
        (dataset, Path(artifact(results, "shard", Condition(dataset, "", "", ""), None, shard)))
        for dataset, shards in spec["shards"].items()
        for shard in shards
    ]


def with_clusters(frame: pd.DataFrame, clusters: pd.DataFrame) -> pd.DataFrame:
    """``frame`` with a column ``cluster``, None for an image alone; the frame itself where no image has one."""
    if clusters.empty or frame.empty:
        return frame
    known = {(d, i): c for d, i, c in clusters[[*KEYS, "cluster"]].itertuples(index=False)}
    keys = zip(frame["dataset"].astype(str), frame["image_id"].astype(str), strict=True)
    return frame.assign(cluster=pd.Series([known.get(key) for key in keys], index=frame.index, dtype=object))

"""Which images belong together, from the shards of a dataset."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

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

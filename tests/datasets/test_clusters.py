"""Groups of images reach the shards, from every reader that knows them, and the scores from there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from pydantic import ValidationError

from vitfaith.artifacts.images import encode_images
from vitfaith.datasets.image_folder import ImageFolderParameters, clusters_of
from vitfaith.datasets.opening import open_source
from vitfaith.stages.shard import run_shard
from vitfaith.tables.clusters import read_clusters, with_clusters


def pictures(folder: Path, names: list[str]) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(path)


def test_folder(tmp_path: Path) -> None:
    pictures(tmp_path, ["cat/tom_1.png", "cat/tom_2.png", "dog/rex.png"])
    source = open_source(
        {"use": "image_folder", "folder": str(tmp_path), "cluster": "([^/]+)_[0-9]+[.]png", "preprocessing": "none"}
    )
    assert source.clusters == ["tom", "tom", None]
    assert clusters_of(["a"], None) is None
    for wrong, message in (("([", "no regular expression"), ("tom", "has no group")):
        with pytest.raises(ValidationError, match=message):
            ImageFolderParameters(folder=tmp_path, cluster=wrong, preprocessing="none")


def test_csv_and_shard_and_scores(tmp_path: Path) -> None:
    pictures(tmp_path, ["a.png", "b.png", "c.png"])
    (tmp_path / "list.csv").write_text("path,label,cluster\na.png,0,x\nb.png,0,x\nc.png,0,\n")
    reader = {"use": "csv", "path": str(tmp_path / "list.csv"), "preprocessing": "none"}
    assert open_source(reader).clusters == ["x", "x", None]
    out = tmp_path / "shard" / "dataset=d" / "shard-000.parquet"
    spec = {"reader": reader, "images": None, "seed": 0, "shard_size": 8, "shard": "shard-000"}
    run_shard(spec, "", out)
    assert pq.read_table(out, partitioning=None).column("cluster").to_pylist() == ["x", "x", None]
    clusters = read_clusters([("d", out)])
    scores = pd.DataFrame({"dataset": "d", "image_id": ["c.png", "b.png", "a.png"], "value": 0.0})
    assert with_clusters(scores, clusters).cluster.tolist() == [None, "x", "x"]
    other = scores.assign(dataset="e")
    assert with_clusters(other, read_clusters([])) is other


def test_parquet_files(tmp_path: Path) -> None:
    images = encode_images(np.zeros((3, 1, 2, 2), np.uint8))
    rows = {"image_id": ["a", "b", "c"], "label": pa.array([0, 0, 0], pa.int32()), **images}
    for name, clusters in (("with", ["x", None, "x"]), ("without", None)):
        table = pa.table({**rows, **({} if clusters is None else {"cluster": clusters})})
        pq.write_table(table, tmp_path / f"{name}.parquet")
        assert open_source({"use": "parquet", "path": str(tmp_path / f"{name}.parquet")}).clusters == clusters

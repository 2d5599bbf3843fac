"""Tables that come condition by condition equal those of all rows at once, byte by byte, and hold one condition at a time."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from benchmarks.synthetic_results import Size, study, write_results

from tests.tables import in_memory
from vitfaith.artifacts import store
from vitfaith.artifacts.store import place_of
from vitfaith.errors import ArtifactError
from vitfaith.stages.tables import run_tables
from vitfaith.study.specs import tables_spec
from vitfaith.tables.collect import CONDITION, with_shards
from vitfaith.tables.grid import Grid
from vitfaith.tables.growing import GrowingTable

ASKED: dict[str, Any] = {
    "smoothings": ["none", "dds_0.25"],
    "attacks": ["clean", "pgd_8"],
    "targets": ["clean_prediction", "prediction"],
    "metrics": ["saco", "deletion_auc", "segmentation"],
    "explainers": ["random", "rollout", "saliency"],
    "stability": ["spearman"],
    "sanity": ["model_randomisation"],
    "certificates": ["cohen", "renyi"],
    "figures": ["saco_leaderboard"],
}
STREAMED = ("scores", "curves", "stability", "sanity", "predictions", "certificates", "attack", "attribute")


def config(images: int, shard: int, **asked: Any) -> dict[str, Any]:
    """A study with every kind of result."""
    found = study(images, shard, **(ASKED | asked))
    found["metrics"]["segmentation"] = {}
    found["sanity"] = {"model_randomisation": {}}
    found["certificates"] = {"cohen": {}, "renyi": {"k": [3]}}
    found["smoothings"]["dds_0.25"]["samples"] = 200
    found["statistics"] = {"resamples": 100}
    return found


def made(folder: Path, size: Size, images: int = 23, shard: int = 9, **asked: Any) -> dict[str, Any]:
    """The specification of the tables of results written below ``folder``."""
    plan = write_results(config(images, shard, **asked), folder, size)
    spec: dict[str, Any] = json.loads(json.dumps(tables_spec(plan, "imagenet")))
    return spec


SIZES = {
    "flagged": Size(classes=5, grid=2, side=4, flagged=0.08),
    "clusters": Size(classes=5, grid=2, side=4, flagged=0.02, clusters=3),
    "whole": Size(classes=5, grid=2, side=4),
}


@pytest.mark.parametrize("name", SIZES)
def test_files_equal_those_of_all_rows_at_once(name: str, tmp_path: Path) -> None:
    spec = made(tmp_path, SIZES[name])
    results = str(tmp_path / "results")
    run_tables(spec, "", results, tmp_path / "tables")
    expected = in_memory.tables(with_shards(spec), results)
    for table, frame in expected.items():
        file = f"{table}.{'csv' if table in ('certified', 'maps') else 'parquet'}"
        in_memory.write(frame, tmp_path / "once" / file)
        assert (tmp_path / "once" / file).read_bytes() == (tmp_path / "tables" / file).read_bytes(), file
    gallery = pd.read_parquet(tmp_path / "tables" / "gallery.parquet")
    roles = in_memory.chosen(expected["scores"], spec["statistics"]["coverage"], "clean_prediction")
    assert dict(zip(gallery.image_id, gallery.role, strict=True)) == roles
    assert len(gallery) == len(roles) * 8 * 3


def test_a_condition_is_opened_once_and_left_before_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = made(tmp_path, SIZES["flagged"])
    opened: list[Path] = []
    known = store.open_any
    monkeypatch.setattr(store, "open_any", lambda path: (opened.append(Path(path)), known(path))[1])
    run_tables(spec, "", str(tmp_path / "results"), tmp_path / "tables")
    shown = {i for n in ("gallery", "sample") for i in pd.read_parquet(tmp_path / "tables" / f"{n}.parquet").image_id}
    chosen = {f"shard-{(int(image[-8:]) - 1) // 9:03d}" for image in shown}
    folders = {
        stage: [p for p in opened if p.relative_to(tmp_path / "results").parts[0] == stage] for stage in STREAMED
    }
    for stage, paths in folders.items():
        files = sorted((tmp_path / "results" / stage).rglob("*.parquet"))
        assert set(paths) == set(files), stage
        again = {p for p in paths if paths.count(p) > 1}
        # pictures and maps of the gallery and the sample are read last; a footer is looked at for nulls, class names or the width of a row
        assert {p.stem for p in again} <= chosen | ({"shard-000"} if stage in ("attack", "predictions") else set()) or (
            stage == "certificates"
        )
    for stage in ("scores", "curves", "stability", "sanity"):
        first = list(dict.fromkeys(folders[stage]))
        places = [tuple(place_of(p).get(name) for name in CONDITION) for p in first]
        assert len([1 for a, b in pairwise(places) if a != b]) == len(set(places)) - 1, stage


def test_rows_in_memory_are_those_of_one_condition(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice the conditions hold as many rows at once."""
    held: dict[tuple[str, ...], list[int]] = {}
    monkeypatch.setattr(Grid, "check", lambda self: held.setdefault(self.names, []).append(self.present.size))
    most = []
    for name, attacks in (("few", ["clean"]), ("many", ["clean", "pgd_2", "pgd_8"])):
        spec = made(tmp_path / name, SIZES["whole"], attacks=attacks, sanity=[], certificates=[], stability=[])
        run_tables(spec, "", str(tmp_path / name / "results"), tmp_path / name / "tables")
        most.append({names: max(sizes) for names, sizes in held.items()})
        assert len(next(iter(held.values()))) == len(attacks) * 4
        held.clear()
    assert most[0] == most[1]


@pytest.mark.parametrize("piece", [1, 7, 64, 1000])
def test_a_growing_table_has_the_bytes_of_one_written_at_once(piece: int, tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    frame = pd.DataFrame({"name": [f"i{i}" for i in range(300)], "value": draw.normal(size=300), "n": np.arange(300)})
    frame["kind"] = pd.Categorical(np.where(frame.n % 3, "a", "b"), categories=["b", "a"])
    frame["cluster"] = pd.Series([None if i < 50 else f"c{i // 7}" for i in range(300)], dtype=object)
    frame["label_name"] = pd.Series([None if i < 150 else f"class {i % 9}" for i in range(300)], dtype=object)
    with GrowingTable(tmp_path / "grown.parquet", frame.iloc[:0], 128) as out:
        for start in range(0, 300, piece):
            out.add(frame.iloc[start : start + piece].reset_index(drop=True))
    whole = store.pa.Table.from_pandas(frame, preserve_index=False)
    with store.growing_parquet(tmp_path / "once.parquet", whole.schema) as writer:
        writer.write_table(whole, row_group_size=128)
    assert (tmp_path / "grown.parquet").read_bytes() == (tmp_path / "once.parquet").read_bytes()
    assert pq.ParquetFile(tmp_path / "grown.parquet").num_row_groups == 3


def test_a_growing_table_that_fails_leaves_nothing(tmp_path: Path) -> None:
    frame = pd.DataFrame({"value": np.arange(10)})

    def grow() -> None:
        with GrowingTable(tmp_path / "grown.parquet", frame.iloc[:0], 4) as out:
            out.add(frame)
            raise ArtifactError("a file is damaged")

    with pytest.raises(ArtifactError, match="damaged"):
        grow()
    assert list(tmp_path.iterdir()) == []


def test_an_image_that_no_shard_holds_is_named() -> None:
    grid = Grid(pd.Index(["a", "b"]), ("method",), {"value": np.float64})
    rows = {"image_id": ["a", "z"], "method": ["m", "m"], "value": [1.0, 2.0]}
    with pytest.raises(ArtifactError, match="image 'z'"):
        grid.add(store.pa.table(rows))

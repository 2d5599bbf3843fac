"""The stage draws from Parquet files as it does from frames in memory."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.figures.test_figures import files
from vitfaith.artifacts.record import digest_of, read_record
from vitfaith.errors import ArtifactError, ConfigError
from vitfaith.figures.caption import caption
from vitfaith.figures.drawing.data import SCORES, FigureData, Part, read_tables
from vitfaith.figures.drawing.style import Style
from vitfaith.figures.registry import FIGURES
from vitfaith.stages.figures import run_figure

IN_PART = ["critical_difference", "accuracy_by_condition", "accuracy_by_radius"]
"""Figures that read some columns and rows of a table."""


@pytest.mark.parametrize("name", ["saco_leaderboard", "gallery", *IN_PART])
def test_parquet_gives_the_same_bytes(name: str, small: FigureData, tmp_path: Path) -> None:
    folder = tmp_path / "experiment=demo"  # a partition folder, whose column must not matter
    folder.mkdir()
    for need in FIGURES[name].traits["needs"]:
        frame = getattr(small, need)
        pq.write_table(pa.Table.from_pandas(frame.astype({"dataset": "category"})), folder / f"{need}.parquet")
    run_figure({"figure": {"use": name}, "style": {"dpi": 60}, "seed": 3}, "", folder, tmp_path / "out" / name)
    expected = files(name, small, tmp_path / "memory", Style(dpi=60))
    told = caption(FIGURES.item(name), small, seed=3)
    assert "Seed 3." in told
    expected[".rst"] = f"{told}\n".encode()
    record = tmp_path / "out" / f".{name}.json"
    assert {p.suffix: p.read_bytes() for p in (tmp_path / "out").iterdir() if p != record} == expected
    assert read_record(record).files == {p.name: digest_of(p) for p in (tmp_path / "out").iterdir() if p != record}


def test_a_part_of_a_table_is_read_row_group_by_row_group(small: FigureData, tmp_path: Path) -> None:
    scores = small.table("scores", SCORES)
    frame = scores.assign(cluster="c", long="not read").astype({"attack": "category"})
    pq.write_table(pa.Table.from_pandas(frame), tmp_path / "scores.parquet", row_group_size=37)
    part = Part(SCORES, {"metric": str(scores.metric.iloc[-1]), "attack": str(scores.attack.iloc[-1])})
    found = read_tables(tmp_path, ["scores"], "a test", {"scores": part})["scores"]
    expected = frame[(frame.metric == part.where["metric"]) & (frame.attack == part.where["attack"])]
    assert list(found.columns) == [*SCORES, "cluster"]
    assert 0 < len(found) < len(frame)
    pd.testing.assert_frame_equal(
        found.astype({"attack": str}), expected[found.columns].astype({"attack": str}).reset_index(drop=True)
    )


def test_what_is_not_there_is_named_beside_what_is(small: FigureData, tmp_path: Path) -> None:
    small.table("scores", SCORES).to_parquet(tmp_path / "scores.parquet")
    spec = {"figure": {"use": "critical_difference", "metric": "sacco"}, "style": {}}
    with pytest.raises(ConfigError, match=r"table 'scores' has no metric 'sacco'.*there is '.*saco'"):
        run_figure(spec, "", tmp_path, tmp_path / "out")


def test_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"needs '.*summary\.parquet', which does not exist"):
        run_figure({"figure": {"use": "saco_leaderboard"}, "style": {}}, "", tmp_path, tmp_path / "out")

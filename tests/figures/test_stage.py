"""The stage draws from Parquet files as it does from frames in memory."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.figures.test_figures import files
from vitfaith.artifacts.record import digest_of, read_record
from vitfaith.errors import ArtifactError
from vitfaith.figures.caption import caption
from vitfaith.figures.drawing.data import FigureData
from vitfaith.figures.drawing.style import Style
from vitfaith.figures.registry import FIGURES
from vitfaith.stages.figures import run_figure


@pytest.mark.parametrize("name", ["saco_leaderboard", "critical_difference", "gallery"])
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


def test_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"needs '.*summary\.parquet', which does not exist"):
        run_figure({"figure": {"use": "saco_leaderboard"}, "style": {}}, "", tmp_path, tmp_path / "out")

"""A finished study is published, and maps from outside join it: the numbers are those that the study itself would find."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import vitfaith as vf
from tests.workflow.conftest import Workflow
from vitfaith.artifacts.store import write_parquet
from vitfaith.sharing.layout import write_sums

CONDITION = ["dataset", "model", "attack", "smoothing", "explained"]


def call(study: Workflow, *arguments: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "vitfaith", *map(str, arguments)]
    return subprocess.run(command, cwd=folder, env=study.environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def benchmark_folder(finished_study: Workflow, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny study, published."""
    folder = tmp_path_factory.mktemp("published")
    done = call(finished_study, "export", finished_study.folder / "config/tiny.yaml", "tiny", folder=folder)
    assert done.returncode == 0, done.stderr
    return folder / "tiny"


def test_the_benchmark_is_whole_and_holds_no_pixels(benchmark_folder: Path, finished_study: Workflow) -> None:
    checked = subprocess.run(
        ["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=benchmark_folder, capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    files = [path for path in benchmark_folder.rglob("*.parquet") if path.is_file()]
    assert not [path for path in files if {"pixels", "picture"} & set(pq.read_schema(path).names)]
    assert len(pd.read_parquet(benchmark_folder / "images.parquet")) == 2 * 12
    ours, theirs = (vf.read(folder) for folder in (benchmark_folder, finished_study.folder / "results"))
    pd.testing.assert_frame_equal(ours, theirs)
    card = (benchmark_folder / "README.md").read_text()
    assert "config_name: scores" in card
    assert "`transformer_mm`" in card
    assert str(finished_study.folder) not in card
    board = pd.read_parquet(benchmark_folder / "leaderboard.parquet")
    pd.testing.assert_frame_equal(board, vf.leaderboard(ours))


def test_maps_from_outside_get_the_scores_that_the_study_gave_them(
    benchmark_folder: Path, finished_study: Workflow, tmp_path: Path
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(benchmark_folder, folder)
    maps = vf.read(folder, "maps", method="transformer_mm", smoothing="none")
    mine = maps[["image_id", "map", "rows", "columns", "attack", "target"]]
    mine.assign(target=maps["target"] + 1).to_parquet(tmp_path / "other.parquet", index=False)
    refused = call(finished_study, "add", "other.parquet", "--study", "copy", "--name", "mine", folder=tmp_path)
    assert refused.returncode == 1
    assert "12 of 12 maps explain another class than the benchmark under tiny, vit_patch4, clean" in refused.stderr
    mine.to_parquet(tmp_path / "mine.parquet", index=False)
    done = call(
        finished_study, "add", "mine.parquet", "--study", "copy", "--name", "mine", "--cores", "2", folder=tmp_path
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("saco k=7") == 2  # clean and attacked

    scores = vf.read(folder, smoothing="none")
    mine, theirs = (
        scores[scores["method"] == one].drop(columns=["method", "family"]) for one in ("mine", "transformer_mm")
    )
    pd.testing.assert_frame_equal(mine.reset_index(drop=True), theirs.reset_index(drop=True))
    board = pd.read_parquet(folder / "leaderboard.parquet").set_index([*CONDITION, "metric", "variant"])
    place = ("tiny", "vit_patch4", "pgd", "none", "clean_prediction", "saco", "k=7")
    found = board.loc[place].set_index("method")
    assert found.loc["mine", "mean"] == found.loc["transformer_mm", "mean"]
    assert len(found) == 4
    assert "`mine`" in (folder / "README.md").read_text()
    assert subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=folder).returncode == 0

    again = call(finished_study, "add", "mine.parquet", "--study", "copy", "--name", "mine", folder=tmp_path)
    assert again.returncode == 1
    assert "has a method 'mine' already; choose another name" in again.stderr


def test_other_images_are_refused_before_anything_is_scored(
    benchmark_folder: Path, finished_study: Workflow, tmp_path: Path
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(benchmark_folder, folder)
    images = pd.read_parquet(folder / "images.parquet")
    images.loc[images["attack"] == "clean", "digest"] = "0" * 32
    write_parquet(pa.Table.from_pandas(images, preserve_index=False), folder / "images.parquet")
    maps = vf.read(folder, "maps", method="random", smoothing="none", attack="clean")
    maps[["image_id", "map"]].to_parquet(tmp_path / "mine.parquet", index=False)
    asked = ("add", "mine.parquet", "--study", "copy", "--name", "mine", "--cores", "2")
    done = call(finished_study, *asked, folder=tmp_path)
    assert done.returncode == 1
    assert "images.parquet' was altered by SHA256SUMS" in done.stderr
    write_sums(folder)
    done = call(finished_study, *asked, folder=tmp_path)
    assert done.returncode == 1
    assert "12 of 12 images differ from the benchmark's" in done.stderr
    assert "take the dataset that the benchmark was made of" in done.stderr
    assert not (folder / "results" / "scores").exists()

"""Results of earlier settings are found and removed; everything that a study names stays."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from vitfaith.cli.main import app
from vitfaith.study.jobs import jobs
from vitfaith.study.load import load_study, read_yaml
from vitfaith.study.plan import Plan
from vitfaith.study.promised import promised_files
from vitfaith.study.unnamed import unnamed_files

ROOT = Path(__file__).resolve().parents[2]


def tiny(**changes: Any) -> dict[str, Any]:
    raw = copy.deepcopy(read_yaml(ROOT / "config" / "tiny.yaml"))
    raw["experiments"]["tiny"] |= changes
    return raw


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Empty files in the places of a finished tiny study, and what else a run leaves."""
    monkeypatch.chdir(ROOT)
    folder = tmp_path / "results"
    plan = Plan(load_study(tiny()), str(folder))
    extra = [
        "tables/experiment=tiny/leaderboards.md",
        "figures/tiny/gallery.svg",
        "bank/dataset=tiny/model=vit_patch4/attack=clean/smoothing=none/explained=clean_prediction/shard-000.parquet",
        "benchmarks/shard/tiny/shard-000.jsonl",
        ".hidden/file",
    ]
    for path in [*promised_files(plan), *(p for job in jobs(plan) for p in job.outputs), *(folder / e for e in extra)]:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).touch()
    return folder


def unnamed(results: Path, *raws: dict[str, Any]) -> set[str]:
    found = unnamed_files([Plan(load_study(raw), str(results)) for raw in raws], results)
    return {path.relative_to(results).as_posix() for path in found}


def test_everything_of_a_study_belongs_to_it(results: Path) -> None:
    assert not unnamed(results, tiny())


def test_conditions_shards_figures_and_experiments_that_are_no_longer_named(results: Path) -> None:
    assert {name.split("/")[0] for name in unnamed(results, tiny(attacks=["clean"]))} == {
        "attack", "attribute", "curves", "denoise", "predictions", "scores", "stability",
    }  # fmt: skip
    assert all("attack=pgd" in name for name in unnamed(results, tiny(attacks=["clean"])))
    assert unnamed(results, tiny(figures=["top_k_overlap", "saco_leaderboard"])) == {
        "figures/tiny/gallery.png", "figures/tiny/gallery.svg",
    }  # fmt: skip
    renamed = tiny()
    renamed["experiments"] = {"other": renamed["experiments"]["tiny"]}
    assert {name.split("/")[0] for name in unnamed(results, renamed)} == {"tables", "figures", "pages"}
    assert not unnamed(results, renamed, tiny())
    stale = (
        results
        / "scores/dataset=tiny/model=vit_patch4/attack=clean/smoothing=none/explained=clean_prediction/family=one_pass/shard-001.parquet"
    )
    stale.touch()
    (results / "train/denoiser/gone/unet").mkdir(parents=True)
    (results / "train/denoiser/gone/unet/config.json").touch()
    assert unnamed(results, tiny()) == {
        stale.relative_to(results).as_posix(), "train/denoiser/gone/unet/config.json",
    }  # fmt: skip


def test_they_are_removed_after_asking(results: Path, tmp_path: Path) -> None:
    config = tmp_path / "study.yaml"
    config.write_text(yaml.safe_dump(tiny(attacks=["clean"])))
    before = unnamed(results, tiny(attacks=["clean"]))
    arguments = ["clean", str(config), "--folder", str(tmp_path)]
    refused = CliRunner().invoke(app, arguments, input="n\n")
    assert refused.exit_code == 1
    assert "attack=pgd/smoothing=dds/explained=clean_prediction/family=one_pass: 1 files" in refused.output
    assert unnamed(results, tiny(attacks=["clean"])) == before
    assert f"removed {len(before)} files" in CliRunner().invoke(app, arguments, input="y\n").output
    assert not unnamed(results, tiny(attacks=["clean"]))
    assert not list(results.rglob("attack=pgd"))
    assert "nothing to remove" in CliRunner().invoke(app, arguments).output

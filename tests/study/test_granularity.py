"""Plans warn of jobs that are too short for a cluster."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from vitfaith.cli.main import app
from vitfaith.study.estimate import Row
from vitfaith.study.granularity import GROUPS, short_jobs, useful_share

ROOT = Path(__file__).resolve().parents[2]
PROFILE = yaml.safe_load((ROOT / "workflow/profiles/slurm/config.yaml").read_text())


@pytest.mark.parametrize(("seconds", "share"), [(60, 0.70), (300, 0.92), (600, 0.96)])
def test_longer_jobs_are_more_useful(seconds: float, share: float) -> None:
    assert useful_share(seconds) == pytest.approx(share, abs=0.005)


def test_groups_are_those_of_the_profile() -> None:
    assert PROFILE["groups"] == GROUPS


def test_short_jobs_are_named_with_a_way_out() -> None:
    rows = [Row("predict", jobs=40, to_do=40, hours=40 * 30 / 3600)]
    assert short_jobs(rows) == [
        "predict: 40 submissions of about 30 s, of which a cluster's overhead leaves 54% useful: raise shard_size, or submit "
        "several as one: --groups predict=predict --group-components predict=10"
    ]


def test_maps_and_scores_are_one_submission() -> None:
    """70 s and 60 s are together more than two minutes; 50 s and 60 s are not."""
    rows = [Row("attribute", to_do=20, hours=20 * 70 / 3600), Row("score", to_do=20, hours=20 * 60 / 3600)]
    assert short_jobs(rows) == []
    rows[0].hours = 20 * 50 / 3600
    assert [line.split(":")[0] for line in short_jobs(rows)] == ["attribute+score"]
    assert short_jobs(rows)[0].endswith("or submit several as one: --group-components explain=3")


@pytest.mark.parametrize("row", [Row("shard", to_do=7, hours=0.001), Row("shard", to_do=50, hours=None), Row("shard")])
def test_few_finished_and_unknown_jobs_are_left_alone(row: Row) -> None:
    assert short_jobs([row]) == []


def test_plan_warns_where_there_is_a_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vitfaith.study.estimate.estimate", lambda *_: [Row("predict", to_do=40, hours=40 * 30 / 3600)])
    monkeypatch.setenv("PATH", str(tmp_path))
    plan = ["plan", str(ROOT / "config/tiny.yaml")]
    assert "submissions" not in CliRunner().invoke(app, plan).output
    (tmp_path / "sbatch").write_text("#!/bin/sh\n")
    (tmp_path / "sbatch").chmod(0o755)
    assert "predict: 40 submissions of about 30 s" in CliRunner().invoke(app, plan).output

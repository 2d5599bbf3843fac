"""Hours and disk of a study that has not run: guessed from shapes and passes, and marked as guesses."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from vitfaith.study.estimate import Cost, Row, estimate
from vitfaith.study.granularity import short_jobs
from vitfaith.study.guess import START, guess
from vitfaith.study.jobs import Job, jobs
from vitfaith.study.load import load_study, read_yaml
from vitfaith.study.needs import asked, memory_mb, minutes
from vitfaith.study.plan import Plan
from vitfaith.study.show import print_plan

ROOT = Path(__file__).resolve().parents[2]
PIXELS = 3 * 224 * 224
CLEAN = "model=shared/attack=clean/smoothing=dds_0.12"


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> Plan:
    monkeypatch.chdir(ROOT)
    return Plan(load_study(read_yaml(Path("config/examples/imagenet_full.yaml"))))


def test_disk_by_hand(full: Plan, tmp_path: Path) -> None:
    rows = {row.stage: row for row in estimate(jobs(full), tmp_path, {}, guess=partial(guess, full, on_gpu=True))}
    assert all(row.guessed == row.unknown == row.to_do for row in rows.values())
    gigabytes = {stage: row.gigabytes for stage, row in rows.items()}
    assert gigabytes["shard"] == pytest.approx(50_000 * (PIXELS + 40) / 1e9)
    # two smoothings: clean images once for three models, two attacks on each
    assert gigabytes["denoise"] == pytest.approx(2 * 7 * 50_000 * 4 * (2 * PIXELS + 40) / 1e9)
    # two attacks of three models have pixels; clean images lie in the shards
    assert gigabytes["attack"] == pytest.approx(50_000 * (6 * PIXELS + 9 * (80 + 5000)) / 1e9)
    assert rows["score"].hours is not None
    assert 100 < rows["score"].hours < 100_000


def test_hours_by_hand(full: Plan) -> None:
    file = Path(f"results/denoise/dataset=imagenet/{CLEAN}/shard-000.parquet")
    job = Job("denoise", "imagenet", 1000, [file])
    call = 60 * PIXELS / (3 * 256 * 256)
    for counted in (None, (4.0, 0.0)):
        assert guess(full, job, counted, True)[0] == pytest.approx(START + 1000 * 4 * call / 150)
        assert guess(full, job, counted, False)[0] == pytest.approx(START + 1000 * 4 * call / 3)
    large = Path("results/predictions/dataset=imagenet/model=vit_l/attack=pgd_2/smoothing=dds_0.12/shard-000.parquet")
    job = Job("predict", "imagenet", 1000, [large])
    assert guess(full, job, (4.0, 1.0), True)[0] == pytest.approx(START + 1000 * 6 * 1024 * 24 / (768 * 12) / 150)


def test_what_has_run_is_not_guessed(full: Plan, tmp_path: Path) -> None:
    asked = [job for job in jobs(full) if job.stage == "shard"]
    known = {asked[0].kinds[0]: Cost(images=1000, seconds=3600, bytes=2e9, jobs=1)}
    (row,) = estimate(asked, tmp_path, known, guess=lambda job, passes: (1e9, 1e18))
    assert [row.hours, row.gigabytes, row.guessed] == pytest.approx([50, 100, 0])
    (row,) = estimate(asked, tmp_path, {}, guess=lambda job, passes: None if job.place.endswith("007") else (1.0, 1.0))
    assert (row.hours, row.gigabytes) == (None, None)


def test_guesses_are_marked_and_warn_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    row = Row("score", 50, 50, 50_000, 1.0, 0.0, 0.25, 843.517, unknown=50, guessed=50)
    print_plan([row], on_gpu=False)
    text = capsys.readouterr().out
    assert "≈0.25 " in text
    assert "≈844 " in text
    assert "slow CPU, 3 forward passes" in " ".join(text.split())
    assert not short_jobs([row])


def test_a_narrow_terminal_cuts_no_number(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    print_plan([Row("attribute", 4050, 4050, 4_050_000, 271_350_000.0, 271_350_000.0, 2356.0, 38.0)])
    text = capsys.readouterr().out
    assert text.count("271,350,000") == 4
    assert text.count("4,050,000") == 1


def test_the_plan_says_what_a_job_asks_of_a_cluster(
    full: Plan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = estimate(jobs(full), tmp_path, {}, asked=partial(asked, full, on_gpu=True))
    for row in rows:
        alike = [job.wildcards for job in jobs(full) if job.stage == row.stage]
        assert row.memory == max(memory_mb(full, row.stage, wildcards) for wildcards in alike)
        assert row.minutes == max(minutes(full, row.stage, wildcards) for wildcards in alike)
    print_plan(rows)
    text = capsys.readouterr().out
    score = next(row for row in rows if row.stage == "score")
    assert f"{score.memory / 1000:.1f} GB, {score.minutes} min" in text


def test_wildcards_of_a_job_are_those_of_its_rule(full: Plan) -> None:
    found = {job.stage: set(job.wildcards) for job in jobs(full)}
    condition = {"dataset", "model", "attack", "smoothing"}
    assert found["shard"] == {"dataset"}
    assert found["attack"] == {"dataset", "model", "attack"}
    assert found["denoise"] == found["predict"] == condition
    assert found["attribute"] == found["score"] == condition | {"explained", "family"}
    assert found["tables"] == found["figures"] == found["page"] == {"experiment"}

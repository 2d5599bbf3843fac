"""`vitfaith plan` and `vitfaith status` tell of the jobs that Snakemake would run, and of what became of them."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from functools import partial
from pathlib import Path

import pytest

from tests.workflow.conftest import Workflow
from vitfaith.check.counting import passes_of
from vitfaith.study.estimate import costs, estimate
from vitfaith.study.jobs import Job, jobs
from vitfaith.study.load import load_study, read_yaml
from vitfaith.study.plan import Plan
from vitfaith.study.status import state_of, status

CONFIG = Path("config", "tiny.yaml")


def jobs_of(workflow: Workflow) -> list[Job]:
    return jobs(Plan(load_study(read_yaml(workflow.folder / CONFIG))))


def test_the_jobs_are_those_of_snakemake(finished_study: Workflow) -> None:
    found = jobs_of(finished_study)
    assert Counter(job.stage for job in found) == finished_study.planned("--forceall")
    for job in found:
        for path in (*job.outputs, job.log, job.benchmark):
            assert (finished_study.folder / path).is_file(), path


def test_estimate_of_a_finished_study(finished_study: Workflow, tmp_path: Path) -> None:
    found = jobs_of(finished_study)
    known = costs(found, finished_study.folder)
    assert all(row.to_do == 0 == row.hours for row in estimate(found, finished_study.folder, known))
    rows = {row.stage: row for row in estimate(found, tmp_path, known)}
    assert {row.to_do == row.jobs for row in rows.values()} == {True}
    # Two attacks on 12 images, one of them clean; DDS takes 2 samples; each attacked set and the clean one once.
    assert rows["denoise"].forwards == 12 * 2 * 2
    assert rows["denoise"].images == 12 * 2
    assert rows["attribute"].backwards == 12 * 2 * (1 + 2)
    hours, disk = rows["score"].hours, rows["score"].gigabytes
    assert hours is not None
    assert disk is not None
    assert min(hours, disk) > 0
    assert {row.hours for row in estimate(found, tmp_path, {})} == {None}


def test_counted_passes_are_those_that_a_run_takes(finished_study: Workflow, tmp_path: Path) -> None:
    plan = Plan(load_study(read_yaml(finished_study.folder / CONFIG)))
    found = jobs(plan)
    ran = {row.stage: row for row in estimate(found, tmp_path, costs(found, finished_study.folder))}
    counted = {row.stage: row for row in estimate(found, tmp_path, {}, partial(passes_of, plan))}
    for stage in ("attack", "denoise", "predict", "attribute", "score"):
        # storing an attacked image looks at those again whose prediction rounding could change
        loose = 0.1 if stage == "attack" else 1e-9
        expected = ran[stage].forwards, ran[stage].backwards
        assert (counted[stage].forwards, counted[stage].backwards) == pytest.approx(expected, rel=loose), stage
    assert counted["score"].hours is None


def test_status(study: Workflow) -> None:
    found = jobs_of(study)
    states = status(found, study.folder)
    assert not states.failures
    assert sum(states.counts.values(), Counter()) == {"done": len(found)}
    failed, running, fresh = (
        job for job in found if (job.stage == "score" and "dds" not in job.place) or job.stage == "tables"
    )
    for job in (failed, running, fresh):
        (study.folder / job.outputs[0]).unlink()
    (study.folder / failed.log).write_text("12/12 images\nerror: 'maps.parquet' is damaged; delete it and run again\n")
    (study.folder / running.log).write_text("6/12 images\n")
    (study.folder / fresh.log).unlink()
    assert [state_of(j, study.folder, alive=True) for j in (failed, running, fresh)] == ["failed", "running", "to do"]
    assert state_of(running, study.folder, alive=False) == "to do"
    command = [sys.executable, "-m", "vitfaith", "status", "config/tiny.yaml"]
    shown = subprocess.run(
        command, cwd=study.folder, env=study.environment, capture_output=True, text=True, check=True
    ).stdout
    assert f"failed: {failed.log}: error: 'maps.parquet' is damaged" in shown
    assert "done = the files exist, with any settings" in shown
    line = next(line.split() for line in shown.splitlines() if line.split()[:1] == ["score"])
    assert line == ["score", "4", "2", "0", "0", "1", "1"]

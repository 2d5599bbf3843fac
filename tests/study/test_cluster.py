"""What SLURM says of jobs, without a SLURM: notes of submissions, a queue that a script plays, and lines of real logs."""

from __future__ import annotations

import os
import time
from collections import Counter
from pathlib import Path

import pytest

from vitfaith.study import cluster
from vitfaith.study.cluster import Submission
from vitfaith.study.jobs import Job
from vitfaith.study.status import Status, state_of, status, waiting

LOG = "logs/shard/tiny/shard-000.log"
JOB = Job("shard", "tiny/shard-000", 6, [Path("results/shard/dataset=tiny/shard-000.parquet")])
SENT = Submission("7", "run", "slurm/7.log", {LOG: None})

LAST_LINES = {
    # of SLURM 22.05, with the lines around them
    "slurmstepd: error: StepId=4.batch exceeded memory limit (43192320 > 31457280), being killed\n"
    "slurmstepd: error: Exceeded job memory limit\n"
    "slurmstepd: error: *** JOB 4 ON node1 CANCELLED AT 2026-11-28T23:06:10 ***": "StepId=4.batch exceeded memory limit "
    "(43192320 > 31457280), being killed",
    "srun: Job step aborted: Waiting up to 17 seconds for job step to finish.\n"
    "slurmstepd: error: *** JOB 9 ON node1 CANCELLED AT 2026-11-28T23:06:10 DUE TO TIME LIMIT ***": "JOB 9 ON node1 CANCELLED AT "
    "2026-11-28T23:06:10 DUE TO TIME LIMIT",
    "srun: warning: cluster configuration lacks support for cpu binding\n"
    "srun: error: Unable to create step for job 3: Step requested GRES but job doesn't have GRES": "Unable to create step for "
    "job 3: Step requested GRES but job doesn't have GRES",
    "Error in rule attack:\nsrun: error: node1: task 0: Exited with exit code 1\n": "",
    "": "",
}


@pytest.fixture
def plays_squeue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file with what squeue prints."""
    programs, said = tmp_path / "bin", tmp_path / "said"
    programs.mkdir()
    (programs / "squeue").write_text(f"#!/bin/sh\ncat {said}\n")
    (programs / "squeue").chmod(0o755)
    said.write_text("")
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    return said


@pytest.fixture
def no_squeue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))


def write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def of(folder: Path) -> tuple[str, list[str], dict[str, int]]:
    """State, errors and reasons of waiting of the one job."""
    found = status([JOB], folder)
    return next(iter(found.counts["shard"])), [text for _, text in found.failures], dict(found.waits)


@pytest.mark.parametrize(("text", "cause"), LAST_LINES.items())
def test_the_cause_is_the_line_that_names_it(text: str, cause: str) -> None:
    assert cluster.cause_in(text) == cause


def test_the_record_gives_the_latest_submission_of_a_job(tmp_path: Path) -> None:
    first, second = SENT, Submission("8", "run", "slurm/8.log", {LOG: 5, "logs/other.log": None})
    cluster.note(first, tmp_path)
    cluster.note(second, tmp_path)
    with (tmp_path / cluster.RECORD).open("a") as handle:
        handle.write('{"id": "9", "run": "run", "slurm_l')  # Snakemake was killed here
    assert cluster.submissions(tmp_path) == {LOG: second, "logs/other.log": second}
    assert cluster.submissions(tmp_path / "elsewhere") == {}


def test_waiting_jobs_are_shown_with_the_reason(tmp_path: Path, plays_squeue: Path) -> None:
    cluster.note(SENT, tmp_path)
    plays_squeue.write_text("7|PENDING|PartitionTimeLimit\n")
    assert of(tmp_path) == ("waiting", [], {"PartitionTimeLimit": 1})
    assert waiting("PartitionTimeLimit", 1).startswith(
        "waiting: 1 job: PartitionTimeLimit: for ever: `runtime` is above the time limit of the partition"
    )
    assert waiting("Priority", 2000) == "waiting: 2,000 jobs: Priority"
    plays_squeue.write_text("7|RUNNING|None\n")
    assert of(tmp_path)[0] == "running"


def test_a_job_that_slurm_ended_before_its_first_line_has_failed(tmp_path: Path, plays_squeue: Path) -> None:
    """Nobody noted the end: Snakemake was killed, too."""
    cluster.note(SENT, tmp_path)
    plays_squeue.write_text("7|NODE_FAIL|NodeFail\n")
    assert of(tmp_path) == ("failed", ["SLURM job 7: NODE_FAIL"], {})
    text = next(iter(LAST_LINES))
    write(tmp_path / "slurm/7.log", text)
    plays_squeue.write_text("7|OUT_OF_MEMORY|OutOfMemory\n")
    assert of(tmp_path)[1] == [f"SLURM job 7: OUT_OF_MEMORY: {LAST_LINES[text]}"]
    plays_squeue.write_text("")  # forgotten after MinJobAge: its log alone is left
    assert of(tmp_path)[1] == [f"SLURM job 7: {LAST_LINES[text]}"]
    (tmp_path / "slurm/7.log").unlink()
    assert of(tmp_path) == ("to do", [], {})


def test_ends_that_snakemake_saw_need_no_slurm(tmp_path: Path, no_squeue: None) -> None:
    cluster.note(SENT, tmp_path)
    cluster.note(Submission("7", "run", "slurm/7.log", {LOG: None}, "TIMEOUT", "DUE TO TIME LIMIT"), tmp_path)
    assert of(tmp_path) == ("failed", ["SLURM job 7: TIMEOUT: DUE TO TIME LIMIT"], {})
    cluster.note(Submission("", "run", "", {LOG: None}, "refused", "invalid partition specified: nowhere"), tmp_path)
    assert of(tmp_path)[1] == ["sbatch: refused: invalid partition specified: nowhere"]
    # A later run without SLURM writes the log, and the file says what it always said.
    write(tmp_path / LOG, "2/6 images\n")
    assert of(tmp_path)[0] == "to do"


def test_the_error_of_this_try_is_quoted_and_none_of_an_earlier_one(tmp_path: Path, plays_squeue: Path) -> None:
    write(tmp_path / LOG, "error: 'a.png' is damaged\n")
    before = cluster.times([LOG], tmp_path)
    cluster.note(Submission("7", "run", "slurm/7.log", before), tmp_path)
    plays_squeue.write_text("7|FAILED|NonZeroExitCode\n")
    assert of(tmp_path)[1] == ["SLURM job 7: FAILED"]
    os.utime(tmp_path / LOG, (1, 1))  # this try wrote
    assert of(tmp_path)[1] == ["error: 'a.png' is damaged"]


def test_files_decide_where_they_are_there(tmp_path: Path, plays_squeue: Path) -> None:
    cluster.note(Submission("7", "run", "", {LOG: None}, "FAILED", ""), tmp_path)
    write(tmp_path / JOB.outputs[0], "")
    assert status([JOB], tmp_path) == Status({"shard": Counter(done=1)})


def test_status_without_a_cluster_asks_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster.subprocess, "run", lambda *_, **__: pytest.fail("squeue was called"))
    assert of(tmp_path)[0] == "to do"
    write(tmp_path / LOG, "error: no\n")
    assert of(tmp_path) == ("failed", ["error: no"], {})
    assert state_of(JOB, tmp_path, alive=True) == "failed"


def test_a_silent_squeue_is_given_up(tmp_path: Path, plays_squeue: Path) -> None:
    (tmp_path / "bin" / "squeue").write_text("#!/bin/sh\nexec sleep 60\n")
    start = time.monotonic()
    assert cluster.queue(["run"], seconds=0.5) is None
    assert time.monotonic() - start < 10
    (tmp_path / "bin" / "squeue").write_text("#!/bin/sh\nexit 1\n")
    assert cluster.queue(["run"]) is None

"""The workflow on a real SLURM: equal to a local run, and nothing lost when jobs, nodes or time run out.

Not collected with the other tests; `tests/slurm/run.sh` runs it inside a cluster of its own.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.workflow.conftest import Workflow, copy_of_the_workflow

SUBMIT = (
    *("--workflow-profile", "profiles/slurm", "--jobs", "8", "--latency-wait", "10"),
    *("--slurm-init-seconds-before-status-checks", "2", "--seconds-between-status-checks", "2"),
    *("--default-resources", "slurm_partition=main", "mem_mb=1500", "runtime=20"),
)
ON_GPUS = ("--set-resources", *(f"{rule}:gpu=1" for rule in ("attack", "attribute", "score")))
"""Ask for GPUs, although jobs of a study on the CPU ask for none."""
STAGES = ("shard", "attack", "attribute", "score", "stability")


def small(config: dict[str, Any]) -> dict[str, Any]:
    """Two shards, no smoothing: 16 jobs in five stages. The cluster's GPUs are make-believe, so compute on the CPU."""
    config["datasets"]["tiny"]["shard_size"] = 6
    config["experiments"]["tiny"]["smoothings"] = ["none"]
    config["compute"] = {"device": "cpu", "part_size": 1}
    return config


def workflow(folder: Path) -> Workflow:
    made = copy_of_the_workflow(folder)
    made.write_config(small(made.config))
    return made


def slurm_jobs() -> list[dict[str, str]]:
    """Every job that this cluster has seen, as SLURM describes it."""
    text = subprocess.run(["scontrol", "show", "jobs", "-o"], capture_output=True, text=True, check=True).stdout
    return [dict(p.split("=", 1) for p in line.split() if "=" in p) for line in text.splitlines() if "JobId=" in line]


def rule_of(job: dict[str, str]) -> str:
    """Rule of a SLURM job, from the comment that the executor gives it."""
    found = re.match(r"(?:rule|group)_([a-z_]+?)(?:_wildcards.*)?$", job.get("Comment", ""))
    return found.group(1) if found else ""


def results(folder: Path) -> dict[str, bytes]:
    found = sorted((folder / "results").rglob("*.parquet"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


@contextmanager
def started(flow: Workflow, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Snakemake in the background; interrupted when the block ends before it."""
    command = ["python", "-m", "snakemake", "--cores", "2", "--configfile", "config/tiny.yaml", *SUBMIT, *arguments]
    log = (flow.folder / "background.log").open("w")
    process = subprocess.Popen(
        command, cwd=flow.folder, env=flow.environment, stdout=log, stderr=subprocess.STDOUT, text=True
    )
    try:
        yield process
        process.wait(600)
    finally:
        process.terminate()
        log.close()


def running(rule: str, known: set[str], seconds: float = 120) -> dict[str, str]:
    """Wait for a job of ``rule`` that runs and is not among ``known``."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for job in slurm_jobs():
            if job["JobState"] == "RUNNING" and job["JobId"] not in known and rule in job.get("Comment", ""):
                return job
        time.sleep(0.5)
    raise AssertionError(f"no job of {rule} came to run:\n{slurm_jobs()}")


@pytest.fixture(scope="module")
def at_home(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Results of the study without SLURM."""
    flow = workflow(tmp_path_factory.mktemp("home") / "repository")
    flow.snakemake()
    return results(flow.folder)


@pytest.fixture(scope="module")
def on_cluster(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workflow, str]:
    """The study, run through SLURM, and what Snakemake said."""
    flow = workflow(tmp_path_factory.mktemp("cluster") / "repository")
    done = flow.snakemake(*SUBMIT, *ON_GPUS)
    return flow, done.stdout + done.stderr


def overhead(folder: Path) -> str:
    """Where the seconds of submissions went: in the queue, in Snakemake and imports around the stages, in the stages."""
    jobs, times = slurm_jobs(), {}
    for job in jobs:
        times[job["JobId"]] = [datetime.fromisoformat(job[f"{m}Time"]) for m in ("Submit", "Start", "End")]
    waited = sum((start - submit).total_seconds() for submit, start, _ in times.values())
    ran = sum((end - start).total_seconds() for _, start, end in times.values())
    files = [f for stage in STAGES for f in (folder / "results/benchmarks" / stage).rglob("*.jsonl")]
    stages = sum(json.loads(file.read_text().splitlines()[0])["s"] for file in files)
    return (
        f"{len(jobs)} submissions of {len(files)} jobs; each waited {waited / len(jobs):.1f} s and ran {ran / len(jobs):.1f} s, "
        f"{stages / len(jobs):.1f} s of it in stages (their imports included)"
    )


def test_cluster_equals_local(at_home: dict[str, bytes], on_cluster: tuple[Workflow, str]) -> None:
    assert results(on_cluster[0].folder) == at_home
    print(overhead(on_cluster[0].folder))


def test_each_job_has_one_gpu(on_cluster: tuple[Workflow, str]) -> None:
    gpu = [job for job in slurm_jobs() if "gpu" in job.get("TresPerJob", "") + job.get("TresPerNode", "")]
    assert gpu, slurm_jobs()
    for job in gpu:
        assert re.search(r"gpu:1$", job.get("TresPerJob", "") + job.get("TresPerNode", "")), job
    # Two nodes with one GPU each: never more than two of them at a time.
    times = [(job["StartTime"], 1) for job in gpu] + [(job["EndTime"], -1) for job in gpu]
    level = most = 0
    for _, step in sorted(times):
        level += step
        most = max(most, level)
    assert most <= 2


def test_second_run_submits_nothing(on_cluster: tuple[Workflow, str]) -> None:
    before = len(slurm_jobs())
    done = on_cluster[0].snakemake(*SUBMIT)
    assert "Nothing to be done" in done.stdout + done.stderr
    assert len(slurm_jobs()) == before


def test_more_memory_after_running_out(tmp_path: Path) -> None:
    flow = workflow(tmp_path / "repository")
    known = {job["JobId"] for job in slurm_jobs()}
    target = "results/attack/dataset=tiny/model=vit_patch4/attack=clean/shard-000.parquet"
    done = flow.snakemake(*SUBMIT, "--set-resources", "attack:mem_mb=350*2**(2*(attempt-1))", "--retries", "2", target)
    tries = [job for job in slurm_jobs() if job["JobId"] not in known and "attack" in job.get("Comment", "")]
    asked = [re.search(r"mem=(\d+)M", job["TRES"]) for job in sorted(tries, key=lambda j: int(j["JobId"]))]
    memory = [int(m.group(1)) for m in asked if m]
    assert len(memory) >= 2, done.stdout + done.stderr
    assert memory == sorted(set(memory))
    assert (flow.folder / target).is_file()


def test_out_of_time_goes_on_where_it_was(tmp_path: Path) -> None:
    flow = workflow(tmp_path / "repository")
    config = flow.config
    config["attacks"]["pgd"] = {"eps": "8/255", "alpha": "1/255", "steps": int(os.environ.get("SLOW_STEPS", "1200"))}
    flow.write_config(config)
    log = flow.folder / "logs/attack/tiny/vit_patch4/pgd/shard-000.log"
    target = "results/attack/dataset=tiny/model=vit_patch4/attack=pgd/shard-000.parquet"
    kept = flow.folder / "results/attack/dataset=tiny/model=vit_patch4/attack=pgd/.shard-000.parts"
    known = {job["JobId"] for job in slurm_jobs()}
    with started(flow, "--set-resources", "attack:runtime=attempt", "--retries", "6", target) as process:
        first = running("attack", known)
        while not list(kept.glob("*/00001-*.parquet")) and process.poll() is None:
            time.sleep(0.5)
        # What SLURM does at the time limit: SIGTERM, and SIGKILL soon after. On a slow machine it has done so already.
        subprocess.run(["scancel", "--signal=TERM", "--full", first["JobId"]], check=False)
    assert process.returncode == 0, (flow.folder / "background.log").read_text()
    assert "images are kept from an earlier try" in log.read_text()
    tries = {job["JobId"] for job in slurm_jobs() if "attack" in job.get("Comment", "")} - known
    assert len(tries) >= 2
    assert not kept.exists()


def test_cancelled_job_and_lost_node(tmp_path: Path, at_home: dict[str, bytes]) -> None:
    flow = workflow(tmp_path / "repository")
    known = {job["JobId"] for job in slurm_jobs()}
    with started(flow, "--retries", "2") as process:
        cancelled = running("attack", known)
        subprocess.run(["scancel", cancelled["JobId"]], check=True)
        lost = running("explain", known)
        node = lost["NodeList"]
        subprocess.run(["pkill", "-9", "-F", f"/run/slurm/{node}.pid"], check=True)
        time.sleep(3)
        subprocess.run([*shlex.split(os.environ["SLURM_TEST_SLURMD"]), node], check=True)
    assert process.returncode == 0, (flow.folder / "background.log").read_text()
    assert results(flow.folder) == at_home
    jobs = [job for job in slurm_jobs() if job["JobId"] not in known]
    again = sum("attack" in job.get("Comment", "") for job in jobs)
    assert again == 4 + 1, "only the cancelled shard is done again"


def test_failed_shard_leaves_the_rest(tmp_path: Path) -> None:
    flow = workflow(tmp_path / "repository")
    flow.snakemake("--until", "shard")
    broken = flow.folder / "results/shard/dataset=tiny/shard-001.parquet"
    stat = broken.stat()
    broken.write_bytes(broken.read_bytes()[:200])
    os.utime(broken, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    known = {job["JobId"] for job in slurm_jobs()}
    done = flow.snakemake(*SUBMIT, check=False)
    assert done.returncode != 0
    # A damaged file stays damaged: both attacks of its shard fail once, and are not tried again.
    assert "It is not tried again" in done.stdout + done.stderr
    tries = [job for job in slurm_jobs() if job["JobId"] not in known and "attack" in job.get("Comment", "")]
    assert len(tries) == 4
    for stage in ("scores", "stability"):
        assert list((flow.folder / "results" / stage).rglob("shard-000.parquet")), done.stdout + done.stderr
        assert not list((flow.folder / "results" / stage).rglob("shard-001.parquet"))
    command = ["python", "-m", "vitfaith", "status", "config/tiny.yaml"]
    shown = subprocess.run(
        command, cwd=flow.folder, env=flow.environment, capture_output=True, text=True, check=True
    ).stdout
    assert "failed: logs/attack/tiny/vit_patch4/clean/shard-001.log: error: 'results/shard" in shown

"""What a cluster does to jobs that no log of the job tells, and sites that lack what the workflow likes to have.

Not collected with the other tests; `tests/slurm/run.sh` runs it inside a cluster of its own.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.slurm.on_cluster import SUBMIT, started, workflow
from tests.workflow.conftest import Workflow

CONFIGURATION = Path("/etc/slurm/slurm.conf")
REFUSAL = "sbatch: error: AssocMaxSubmitJobLimit\nsbatch: error: Batch job submission failed: Job violates accounting/QOS policy"
ATTACKED = [f"results/attack/dataset=tiny/model=vit_patch4/attack=clean/shard-{i:03d}.parquet" for i in (0, 1)]


def status(flow: Workflow) -> str:
    command = ["python", "-m", "vitfaith", "status", "config/tiny.yaml"]
    done = subprocess.run(command, cwd=flow.folder, env=flow.environment, capture_output=True, text=True, check=True)
    return done.stdout


@pytest.fixture
def forgetful() -> Iterator[None]:
    """The controller forgets jobs nine seconds after their end."""
    before = CONFIGURATION.read_text()
    CONFIGURATION.write_text(before.replace("MinJobAge=600", "MinJobAge=9"))
    subprocess.run(["scontrol", "reconfigure"], check=True)
    yield
    CONFIGURATION.write_text(before)
    subprocess.run(["scontrol", "reconfigure"], check=True)


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Programs without SLURM's accounting, and an sbatch that refuses once; gives the file with what it was asked."""
    programs, asked = tmp_path / "bin", tmp_path / "asked"
    programs.mkdir()
    places = [Path(place) for place in os.environ["PATH"].split(os.pathsep)]
    for place in reversed(places):
        for program in place.iterdir() if place.is_dir() else ():
            if program.name in ("sacct", "sacctmgr", "sshare"):
                continue
            (programs / program.name).unlink(missing_ok=True)
            (programs / program.name).symlink_to(program)
    real = (programs / "sbatch").resolve()
    (programs / "sbatch").unlink()
    (programs / "sbatch").write_text(
        f"""#!/bin/sh
echo "$@" >> {asked}
[ "$(wc -l < {asked})" -gt 1 ] || {{ printf '{REFUSAL}\\n' >&2; exit 1; }}
exec {real} "$@"
"""
    )
    (programs / "sbatch").chmod(0o755)
    monkeypatch.setenv("PATH", str(programs))
    return asked


@pytest.mark.usefixtures("forgetful")
def test_poor_site(tmp_path: Path, bare: Path) -> None:
    """No GPU, no accounting programs, a short memory, a full queue, and jobs of two shards in one submission."""
    flow = workflow(tmp_path / "repository")
    config = flow.config
    config["compute"]["device"] = "auto"
    flow.write_config(config)
    together = ("--groups", "shard=cut", "attack=cut", "--group-components", "cut=2")
    done = flow.snakemake(*SUBMIT, "--resources", "gpu=0", *together, "--retries", "0", *ATTACKED)
    said = done.stdout + done.stderr
    assert all((flow.folder / target).is_file() for target in ATTACKED)
    # A third of MinJobAge; asked as seldom as the plugin does, or by sacct, the job would have been waited for in vain.
    assert "SLURM forgets ended jobs after 9 s" in said
    assert "asking for states every 3 s" in said
    # No GPU is asked for, neither of sbatch nor, within the job, of srun.
    asked = bare.read_text().splitlines()
    assert not [line for line in asked if "--gpus" in line or "--gres" in line]
    # A refusal costs a pause, and none of the tries, of which there is one here.
    assert len(asked) == 2, "one submission for two shards and their two attacks, refused once"
    assert "sbatch: AssocMaxSubmitJobLimit" in said
    assert "should be below your MaxSubmitJobs" in said
    assert "Trying again in 10 s" in said


@pytest.mark.usefixtures("forgetful")  # and so asked every three seconds, which saves time
def test_status_takes_the_clusters_word(tmp_path: Path) -> None:
    """Jobs that died before their first line, that wait for ever, and that sbatch refused."""
    flow = workflow(tmp_path / "repository")
    # Each of the two Snakemakes in a job takes more.
    killed = flow.snakemake(
        *SUBMIT, "--retries", "0", "--set-resources", "shard:mem_mb=20", "--until", "shard", check=False
    )
    assert re.search(r"SLURM says: .*exceeded memory limit", killed.stdout + killed.stderr)
    shown = status(flow)
    assert re.search(r"failed: logs/shard/tiny/shard-001\.log: SLURM job \d+: FAILED: .*exceeded memory limit", shown)
    assert re.search(r"^ *shard +2 +0 +0 +0 +2 +0 *$", shown, re.MULTILINE)

    refused = flow.snakemake(
        *SUBMIT, "--set-resources", "shard:slurm_partition=nowhere", "--until", "shard", check=False
    )
    said = refused.stdout + refused.stderr
    assert "It is not tried again" in said
    assert "Trying to restart" not in said
    assert re.search(r"failed: logs/shard/tiny/shard-000\.log: sbatch: refused: invalid partition", status(flow))

    in_vain = ("--set-resources", "shard:slurm_partition=short", "--until", "shard")
    log = flow.folder / "background.log"
    with started(flow, *in_vain) as process:
        end = time.monotonic() + 120
        while "will for ever" not in log.read_text() and time.monotonic() < end and process.poll() is None:
            time.sleep(0.5)
        shown = status(flow)
        for job in re.findall(r"SLURM jobid (\d+)", log.read_text()):
            subprocess.run(["scancel", job], check=True)
        process.terminate()
    assert (
        "2 SLURM jobs wait with the reason PartitionTimeLimit, and will for ever: `runtime` is above" in log.read_text()
    )
    assert "waiting: 2 jobs: PartitionTimeLimit: for ever: `runtime` is above the time limit of the partition" in shown
    assert re.search(r"^ *shard +2 +0 +0 +2 +0 +0 *$", shown, re.MULTILINE)

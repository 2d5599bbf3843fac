"""A run that is killed without warning goes on where it stopped and ends with the results of an undisturbed one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq

from tests.workflow.conftest import Workflow, copy_of_the_workflow


def tables_of(folder: Path) -> dict[str, bytes]:
    """Relative path → bytes of every Parquet file with results."""
    files = [p for p in sorted((folder / "results").rglob("*.parquet")) if "benchmarks" not in p.parts]
    return {str(p.relative_to(folder)): p.read_bytes() for p in files}


def test_kill_in_the_middle_then_the_same_command(finished_study: Workflow, tmp_path: Path) -> None:
    workflow = copy_of_the_workflow(tmp_path / "repository")
    command = [sys.executable, "-m", "snakemake", "--cores", "2", "--configfile", "config/tiny.yaml"]
    process = subprocess.Popen(
        command,
        cwd=workflow.folder,
        env=workflow.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 600
    while not list((workflow.folder / "results" / "attribute").rglob("*.parquet")):
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.2)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (workflow.folder / "results" / "tables").exists()

    workflow.snakemake("--unlock")
    before = {p: p.stat().st_mtime_ns for p in (workflow.folder / "results" / "attack").rglob("*.parquet")}
    workflow.snakemake()
    assert before
    assert all(path.stat().st_mtime_ns == then for path, then in before.items()), "finished shards were computed again"
    resumed, undisturbed = tables_of(workflow.folder), tables_of(finished_study.folder)
    assert resumed.keys() == undisturbed.keys()
    different = [name for name in undisturbed if resumed[name] != undisturbed[name]]
    assert not different, different


def test_leftovers_of_atomic_writes_are_no_data(finished_study: Workflow) -> None:
    for path in (finished_study.folder / "results").rglob("*.parquet"):
        assert not path.name.startswith("."), path
        pq.read_metadata(path)

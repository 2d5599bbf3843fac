"""Two processes with one job, and what killed ones leave behind."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.artifacts.test_parts import SCHEMA, files
from vitfaith.artifacts.lock import is_worked_on, job_lock, lock_path
from vitfaith.artifacts.parts import remove_leftovers, run_in_parts
from vitfaith.artifacts.store import write_table

CONTEXT = multiprocessing.get_context("fork")


def slow_double(inputs: Mapping[str, Path], outputs: Mapping[str, Path]) -> None:
    images = pq.read_table(inputs["images"], partitioning=None)
    time.sleep(0.15)
    for name in ("out", "other"):
        write_table(images, outputs[name], SCHEMA, {"stage": "double"})


def job(folder: Path, settings: str, log: Path) -> None:
    logging.basicConfig(filename=log, level=logging.INFO, force=True)
    inputs, outputs = files_of(folder)
    run_in_parts(slow_double, inputs, outputs, part_size=2, settings=settings)


def files_of(folder: Path) -> tuple[dict[str, Path], dict[str, Path]]:
    return {"images": folder / "images.parquet"}, {
        "out": folder / "results" / "shard-000.parquet",
        "other": folder / "other" / "shard-000.parquet",
    }


@pytest.mark.parametrize(("second", "repeated"), [("a", False), ("b", True)])
def test_two_runs_of_one_job_wait_for_each_other(tmp_path: Path, second: str, repeated: bool) -> None:
    files(tmp_path, 8)
    logs = [tmp_path / "first.log", tmp_path / "second.log"]
    processes = [
        CONTEXT.Process(target=job, args=(tmp_path, s, log)) for s, log in zip(("a", second), logs, strict=True)
    ]
    processes[0].start()
    time.sleep(0.2)
    processes[1].start()
    for process in processes:
        process.join(30)
        assert process.exitcode == 0
    out = files_of(tmp_path)[1]["out"]
    assert pq.read_table(out, partitioning=None).column("value").to_pylist() == list(range(8))
    text = logs[1].read_text()
    assert f"process {processes[0].pid} on" in text
    assert "waiting until it ends" in text
    assert ("finished by the other process" in text) is not repeated
    assert not [left for left in tmp_path.rglob(".*") if left.name.startswith(".shard")]


def test_a_job_goes_on_beside_an_orphan_that_is_killed(tmp_path: Path) -> None:
    files(tmp_path, 8)
    orphan = CONTEXT.Process(target=job, args=(tmp_path, "a", tmp_path / "orphan.log"))
    orphan.start()
    time.sleep(0.4)
    resumed = CONTEXT.Process(target=job, args=(tmp_path, "a", tmp_path / "resumed.log"))
    resumed.start()
    time.sleep(0.2)
    assert orphan.pid is not None
    os.kill(orphan.pid, signal.SIGKILL)
    resumed.join(30)
    assert resumed.exitcode == 0
    assert "images are kept from an earlier try" in (tmp_path / "resumed.log").read_text()
    out = files_of(tmp_path)[1]["out"]
    assert pq.read_table(out, partitioning=None).column("value").to_pylist() == list(range(8))
    assert not list(out.parent.glob(".*"))


def test_a_lock_is_held_or_left_behind(tmp_path: Path) -> None:
    target = tmp_path / "shard-000.parquet"
    with job_lock([target], "work") as finished:
        assert not finished
        assert is_worked_on(target)
    assert not lock_path(target).exists()
    lock_path(target).write_text("{}")
    assert not is_worked_on(target)


def test_leftovers_go_when_their_output_is_complete(tmp_path: Path) -> None:
    for name in (".done.parts/digest", ".open.parts/digest", ".busy.parts/digest"):
        (tmp_path / "deep" / name).mkdir(parents=True)
    for name in ("done.parquet", "busy.parquet", ".done.lock", ".done.parquet.a1b2c3_4", ".open.parquet.a1b2c3_4"):
        (tmp_path / "deep" / name).touch()
    (tmp_path / ".snakemake").mkdir()
    with job_lock([tmp_path / "deep" / "busy.parquet"], "work"):
        removed = {path.name for path in remove_leftovers(tmp_path)}
        assert removed == {".done.parts", ".done.lock", ".done.parquet.a1b2c3_4"}
    left = {path.name for path in (tmp_path / "deep").iterdir()}
    assert left == {"done.parquet", "busy.parquet", ".open.parts", ".busy.parts", ".open.parquet.a1b2c3_4"}

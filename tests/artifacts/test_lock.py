"""Two processes with one job, and what killed ones leave behind."""

from __future__ import annotations

import errno
import logging
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.artifacts.test_parts import SCHEMA, files
from vitfaith.artifacts.lock import is_worked_on, job_lock, lock_path
from vitfaith.artifacts.parts import remove_leftovers, run_alone, run_in_parts
from vitfaith.artifacts.store import write_table
from vitfaith.errors import ArtifactError

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


def until(happened: Callable[[], bool]) -> None:
    """Wait for something that the machine, however busy, does soon."""
    deadline = time.monotonic() + 30
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def read(log: Path) -> str:
    return log.read_text() if log.exists() else ""


def files_of(folder: Path) -> tuple[dict[str, Path], dict[str, Path]]:
    return {"images": folder / "images.parquet"}, {
        "out": folder / "results" / "shard-000.parquet",
        "other": folder / "other" / "shard-000.parquet",
    }


@pytest.mark.parametrize(("second", "repeated"), [("a", False), ("b", True)])
def test_two_runs_of_one_job_wait_for_each_other(tmp_path: Path, second: str, repeated: bool) -> None:
    files(tmp_path, 24)
    logs = [tmp_path / "first.log", tmp_path / "second.log"]
    processes = [
        CONTEXT.Process(target=job, args=(tmp_path, s, log)) for s, log in zip(("a", second), logs, strict=True)
    ]
    processes[0].start()
    until(lambda: any(tmp_path.rglob("00000-other.parquet")))
    processes[1].start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    out = files_of(tmp_path)[1]["out"]
    assert pq.read_table(out, partitioning=None).column("value").to_pylist() == list(range(24))
    text = logs[1].read_text()
    assert f"process {processes[0].pid} on" in text
    assert "waiting until it ends" in text
    assert ("finished by the other process" in text) is not repeated
    assert not [left for left in tmp_path.rglob(".*") if left.name.startswith(".shard")]


def test_a_job_goes_on_beside_an_orphan_that_is_killed(tmp_path: Path) -> None:
    files(tmp_path, 24)
    orphan = CONTEXT.Process(target=job, args=(tmp_path, "a", tmp_path / "orphan.log"))
    orphan.start()
    until(lambda: any(tmp_path.rglob("00000-other.parquet")))
    resumed = CONTEXT.Process(target=job, args=(tmp_path, "a", tmp_path / "resumed.log"))
    resumed.start()
    until(lambda: "waiting until it ends" in read(tmp_path / "resumed.log"))
    assert orphan.pid is not None
    os.kill(orphan.pid, signal.SIGKILL)
    resumed.join(30)
    assert resumed.exitcode == 0
    assert "images are kept from an earlier try" in (tmp_path / "resumed.log").read_text()
    out = files_of(tmp_path)[1]["out"]
    assert pq.read_table(out, partitioning=None).column("value").to_pylist() == list(range(24))
    assert not list(out.parent.glob(".*"))


def two_files(folder: Path) -> None:
    """Writes the first of its two files before anybody waits for it, the second one late."""
    with job_lock([folder / "first", folder / "second"], "work"):
        (folder / "first").touch()
        time.sleep(2)
        (folder / "second").touch()
        os.utime(folder / "second", (time.time() + 90, time.time() + 90))  # as by a file server with a clock of its own


def test_who_waits_takes_files_that_were_written_before_it_came(tmp_path: Path) -> None:
    first = CONTEXT.Process(target=two_files, args=(tmp_path,))
    first.start()
    until((tmp_path / "first").exists)
    with job_lock([tmp_path / "first", tmp_path / "second"], "work") as finished:
        assert finished
    first.join(30)
    with job_lock([tmp_path / "first", tmp_path / "second"], "work") as finished:
        assert not finished, "nobody was waited for"


def stay(folder: Path, work: str, seconds: float) -> None:
    with job_lock([folder / "out"], work):
        (folder / "out").write_text(work)
        time.sleep(seconds)


def test_of_three_the_last_takes_the_result_of_its_own_work_alone(tmp_path: Path) -> None:
    """The third has the settings of the first, and the second has written the file meanwhile."""
    first = CONTEXT.Process(target=stay, args=(tmp_path, "a", 0.5))
    second = CONTEXT.Process(target=stay, args=(tmp_path, "b", 2))
    first.start()
    until((tmp_path / "out").exists)
    second.start()
    until(lambda: read(tmp_path / "out") == "b")
    with job_lock([tmp_path / "out"], "a") as finished:
        assert not finished
    first.join(30)
    second.join(30)


def append(folder: Path) -> None:
    def work() -> None:
        (folder / "running").touch(exist_ok=False)
        time.sleep(0.3)
        (folder / "running").unlink()
        with (folder / "out").open("a") as handle:
            handle.write("x")

    run_alone(work, [folder / "out"])


def test_jobs_that_are_not_done_in_parts_wait_for_each_other_and_are_repeated(tmp_path: Path) -> None:
    (tmp_path / ".out.a1b2c3_4").touch()
    processes = [CONTEXT.Process(target=append, args=(tmp_path,)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)
        assert process.exitcode == 0
    assert (tmp_path / "out").read_text() == "xx"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_lock_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(ArtifactError, match="no space left"), job_lock([tmp_path / "out"], "work"):
        pass
    assert not list(tmp_path.iterdir())


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
    for name in (
        "done.parquet",
        "busy.parquet",
        "figure.svg",
        ".done.lock",
        ".figure.lock",
        ".done.parquet.a1b2c3_4",
        ".open.parquet.a1b2c3_4",
    ):
        (tmp_path / "deep" / name).touch()
    (tmp_path / ".snakemake").mkdir()
    with job_lock([tmp_path / "deep" / "busy.parquet"], "work"):
        removed = {path.name for path in remove_leftovers(tmp_path)}
        assert removed == {".done.parts", ".done.lock", ".figure.lock", ".done.parquet.a1b2c3_4"}
    left = {path.name for path in (tmp_path / "deep").iterdir()}
    assert left == {
        "done.parquet",
        "busy.parquet",
        "figure.svg",
        ".open.parts",
        ".busy.parts",
        ".open.parquet.a1b2c3_4",
    }

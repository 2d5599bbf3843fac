"""Kinds of trials: each does one thing to one job and says what did not survive, or nothing."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.crash.faults import kill_at_step
from tests.crash.study import Job, Process, Study, is_result
from vitfaith.artifacts.parts import remove_leftovers

Kind = Callable[[Study, Path, random.Random], str]
"""Does a trial on a copy of the study in an empty folder; returns what went wrong, empty for nothing."""


@dataclass(frozen=True)
class Entry:
    """A kind of trials.

    Attributes:
        does: one trial.
        weight: how many of it come on one of the dearest kind.
    """

    does: Kind
    weight: int


KINDS: dict[str, Entry] = {}


def kind(weight: int) -> Callable[[Kind], Kind]:
    """Make a function a kind of trials under its name."""

    def add(does: Kind) -> Kind:
        KINDS[does.__name__] = Entry(does, weight)
        return does

    return add


@kind(weight=6)
def stage_killed(study: Study, folder: Path, rng: random.Random) -> str:
    """One to three kills of one job at random moments; then the job runs to its end."""
    job = without_outputs(study, folder, rng)
    for number in range(rng.randint(1, 3)):
        killed(study, job, folder, folder / f"killed-{number}.log", rng)
    return ends_well(study, job, folder)


@kind(weight=4)
def stage_stopped(study: Study, folder: Path, rng: random.Random) -> str:
    """A signal that asks a job to stop, once or twice; then the job runs to its end."""
    job = without_outputs(study, folder, rng)
    process = Process(job, folder, folder / "stopped.log")
    number = rng.choice([signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP])
    for _ in range(rng.randint(1, 2)):
        time.sleep(rng.uniform(0, study.seconds[job]))
        process.send(number)
    if process.wait() is None:
        process.send(signal.SIGKILL)
        return f"{job.stage} goes on after {number.name}"
    return ends_well(study, job, folder)


@kind(weight=4)
def orphan(study: Study, folder: Path, rng: random.Random) -> str:
    """A job starts while an earlier process still does it; either may be killed, and the other runs to its end."""
    job = without_outputs(study, folder, rng)
    processes = [Process(job, folder, folder / "orphan.log")]
    time.sleep(rng.uniform(0, study.seconds[job]))
    processes.append(Process(job, folder, folder / "resumed.log"))
    victim = rng.choice([None, 0, 1])
    if victim is not None:
        time.sleep(rng.uniform(0, study.seconds[job]))
        processes[victim].send(signal.SIGKILL)
    codes = [process.wait() for process in processes]
    for number, code in enumerate(codes):
        if code != 0 and not (number == victim and code == -signal.SIGKILL):
            return f"{job.stage}, process {number + 1} of 2 ended with {code}: {last_line(processes[number])}"
    if victim == 1:
        return ends_well(study, job, folder)
    return left(study, job, folder)


def without_outputs(study: Study, folder: Path, rng: random.Random) -> Job:
    """A job of a copy of the study in ``folder`` that has to be done again."""
    job = study.choose(rng)
    study.copy(folder)
    for name in job.outputs:
        (folder / name).unlink()
    return job


def killed(study: Study, job: Job, folder: Path, log: Path, rng: random.Random) -> None:
    """Start ``job`` and kill it before one of its steps on the file system, or after a time."""
    if rng.random() < 0.6:
        Process(job, folder, log, kill_at_step(rng.randint(1, study.steps[job]))).wait()
        return
    process = Process(job, folder, log)
    time.sleep(rng.uniform(0, study.seconds[job]))
    process.send(signal.SIGKILL)
    process.wait()


def ends_well(study: Study, job: Job, folder: Path) -> str:
    """Do ``job`` without a disturbance and say what is wrong then."""
    process = Process(job, folder, folder / "again.log")
    if process.wait() != 0:
        return f"{job.stage} ended with {process.code} when it was done again: {last_line(process)}"
    return left(study, job, folder)


def left(study: Study, job: Job, folder: Path) -> str:
    """What is wrong with the results in ``folder`` after ``job``: other bytes, or something left over."""
    wrong = study.differences(folder)
    if "--part-size" not in job.arguments:
        remove_leftovers(folder / "results")  # jobs in parts do so themselves, others leave it to the end of a run
    results = folder / "results"
    hidden = [path.name for path in results.rglob(".*") if not is_result(path.relative_to(results))]
    return f"{job.stage}: {wrong}" if wrong else f"{job.stage} leaves {hidden[0]}" if hidden else ""


def last_line(process: Process) -> str:
    """The last line that a process has written."""
    return next(iter(process.text().strip().splitlines()[-1:]), "")

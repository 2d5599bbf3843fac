"""Kills of Snakemake, alone or with its stages, and Ctrl-C; then the commands that the README gives."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from tests.crash.study import PATIENCE, Study
from tests.crash.trials import kind
from tests.workflow.conftest import Workflow

JOBS_OF_A_TRIAL = 2
"""At most this many stages are to be done in a trial, so that it costs some seconds."""


class Run:
    """Snakemake in a session of its own, which its stages share as they share a terminal."""

    def __init__(self, workflow: Workflow, log: Path, *arguments: str) -> None:
        self.log = log
        command = [sys.executable, "-m", "snakemake", "--cores", "2", "--configfile", "config/tiny.yaml", *arguments]
        with log.open("ab") as handle:
            self.process = subprocess.Popen(
                command,
                cwd=workflow.folder,
                env=workflow.environment | {"XDG_CACHE_HOME": str(workflow.folder / "cache")},
                stdout=handle,
                stderr=handle,
                start_new_session=True,
            )

    def wait(self) -> int | None:
        """The exit code, None where it hangs."""
        with suppress(subprocess.TimeoutExpired):
            return self.process.wait(PATIENCE)
        return None

    def send(self, number: int, *, to_all: bool) -> None:
        """Send a signal to Snakemake, or to it and its stages at once as the terminal does."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number) if to_all else os.kill(self.process.pid, number)

    def text(self) -> str:
        """What Snakemake has written."""
        return self.log.read_text(errors="replace")

    def members(self) -> list[int]:
        """Process ids of those of the session that still run."""
        found = subprocess.run(["ps", "-s", str(self.process.pid), "-o", "pid=,stat="], capture_output=True, text=True)
        rows = [line.split() for line in found.stdout.splitlines()]
        return [int(pid) for pid, state in rows if not state.startswith("Z")]

    def until_gone(self) -> bool:
        """Wait for the last process of the session; whether it has ended."""
        deadline = time.monotonic() + PATIENCE
        while self.members() and time.monotonic() < deadline:
            time.sleep(0.1)
        return not self.members()

    def end(self) -> None:
        """Kill what is left of the session."""
        for pid in self.members():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()


@kind(weight=1)
def snakemake_killed(study: Study, folder: Path, rng: random.Random) -> str:
    """Snakemake alone is killed; its stages live on while it is unlocked and run again."""
    return _disturbed(study, folder, rng, [signal.SIGKILL], to_all=False, unlock=True)


@kind(weight=1)
def both_killed(study: Study, folder: Path, rng: random.Random) -> str:
    """Snakemake and its stages are killed at once, as by closing the terminal."""
    number = rng.choice([signal.SIGKILL, signal.SIGHUP])
    return _disturbed(study, folder, rng, [number], to_all=True, unlock=True)


@kind(weight=1)
def interrupted(study: Study, folder: Path, rng: random.Random) -> str:
    """Ctrl-C, once or twice, or SIGTERM to Snakemake; the same command goes on without unlocking."""
    numbers = rng.choice([[signal.SIGINT], [signal.SIGINT], [signal.SIGINT] * 2, [signal.SIGTERM]])
    return _disturbed(study, folder, rng, numbers, to_all=numbers[0] == signal.SIGINT, unlock=False)


def _disturbed(
    study: Study, folder: Path, rng: random.Random, signals: list[signal.Signals], *, to_all: bool, unlock: bool
) -> str:
    """Send signals to a run that makes some results again, do as the README says, and compare."""
    workflow = private_copy(study, folder)
    targets = remove_some(study, workflow.folder, rng)
    first = Run(workflow, folder / "first.log", "--", *targets)
    try:
        _wait_for_a_moment(first, workflow.folder, rng)
        for count, number in enumerate(signals):
            time.sleep(rng.uniform(0, 1) if count else 0)
            first.send(number, to_all=to_all)
        if first.wait() is None:
            return f"Snakemake goes on after {signals[0].name}"
        wrong = _run_again(workflow, folder, targets, unlock=unlock)
        if not first.until_gone():
            return "an orphan goes on"
    finally:
        first.end()
    return wrong or study.differences(workflow.folder)


def _run_again(workflow: Workflow, folder: Path, targets: list[str], *, unlock: bool) -> str:
    """Unlock, and give the same command again; says what is wrong with how they end."""
    if unlock:
        unlocked = workflow.snakemake("--unlock", check=False)
        if unlocked.returncode != 0:
            return f"--unlock ended with {unlocked.returncode}: {unlocked.stderr[-300:]}"
    second = Run(workflow, folder / "second.log", "--", *targets)
    try:
        code = second.wait()
    finally:
        second.end()
    return "" if code == 0 else f"the same command ended with {code}: {second.text()[-600:]}"


def _wait_for_a_moment(run: Run, folder: Path, rng: random.Random) -> None:
    """Wait until a random moment: often one after the first stage has begun, else any."""
    if rng.random() < 0.3:
        time.sleep(rng.uniform(0, 6))
        return
    deadline = time.monotonic() + PATIENCE
    while run.process.poll() is None and time.monotonic() < deadline:
        if any((folder / "results").rglob(".*.lock")):
            break
        time.sleep(0.02)
    time.sleep(rng.uniform(0, 1.5))


def private_copy(study: Study, folder: Path) -> Workflow:
    """A copy of the study with Snakemake's bookkeeping; no file is shared, as Snakemake writes its own in place."""
    target = folder / "study"
    shutil.copytree(study.tracked.folder, target, symlinks=True)
    return Workflow(target)


def remove_some(study: Study, folder: Path, rng: random.Random) -> list[str]:
    """Remove the results of one or two jobs that do not wait for each other; returns the first of each as targets."""
    chosen = rng.sample(study.jobs, rng.randint(1, JOBS_OF_A_TRIAL))
    if len(chosen) == 2 and set(chosen[0].outputs + chosen[1].outputs) & set(chosen[0].inputs + chosen[1].inputs):
        chosen.pop()
    for job in chosen:
        for name in job.outputs:
            (folder / name).unlink()
    return [next(name for name in job.outputs if not Path(name).name.startswith(".")) for job in chosen]

"""How far a study is: which jobs are done, running, failed, or still to do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from vitfaith.study.jobs import Job

State = Literal["done", "running", "failed", "to do"]
STATES: tuple[State, ...] = ("done", "running", "failed", "to do")

_LAST_BYTES = 4096


def state_of(job: Job, folder: Path, *, alive: bool) -> State:
    """State of one job of a study that runs in ``folder``.

    A job opens its log when it starts, removes nothing from it, and its last line says ``error: …`` where it failed.

    Args:
        alive: whether a Snakemake runs in the folder; without one nothing is running.
    """
    if all((folder / path).is_file() for path in job.outputs):
        return "done"
    log = folder / job.log
    if not log.is_file():
        return "to do"
    if error_in(log):
        return "failed"
    return "running" if alive else "to do"


def error_in(log: Path) -> str | None:
    """The line with which a job's log tells why it failed, None where it tells of no failure."""
    with log.open("rb") as handle:
        handle.seek(max(0, log.stat().st_size - _LAST_BYTES))
        lines = handle.read().decode(errors="replace").strip().splitlines()
    last = lines[-1].strip() if lines else ""
    named = last.split(":", 1)[0]
    failed = named == "error" or (named.replace(".", "").isidentifier() and named.endswith(("Error", "Exception")))
    return last if failed else None


def snakemake_lives(folder: Path) -> bool:
    """Whether a Snakemake holds the folder's locks (a killed one leaves them, too)."""
    return any((folder / ".snakemake" / "locks").glob("*"))


def status(jobs: Sequence[Job], folder: Path) -> tuple[list[tuple[str, Counter[State]]], list[tuple[Job, str]]]:
    """Counts of states by stage in the order of ``jobs``, and the failed jobs with their errors."""
    alive = snakemake_lives(folder)
    counts: dict[str, Counter[State]] = {}
    failures = []
    for job in jobs:
        state = state_of(job, folder, alive=alive)
        counts.setdefault(job.stage, Counter())[state] += 1
        if state == "failed":
            failures.append((job, error_in(folder / job.log) or ""))
    return list(counts.items()), failures

"""How far a study is: which jobs are done, running, waiting in a queue, failed, or still to do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from vitfaith.study import cluster
from vitfaith.study.cluster import FAILS, FOR_EVER, RUNS, WAITS, Submission
from vitfaith.study.jobs import Job

State = Literal["done", "running", "waiting", "failed", "to do"]
STATES: tuple[State, ...] = ("done", "running", "waiting", "failed", "to do")

_LAST_BYTES = 4096


@dataclass(frozen=True)
class Word:
    """Information of a cluster about one job: its submission, and state and reason in the queue, where it is known there."""

    submission: Submission
    queued: tuple[str, str] | None = None

    def failure(self, folder: Path) -> str | None:
        """The cause of a failure that SLURM knows, None where there is none."""
        sent = self.submission
        state = sent.ended or (self.queued[0] if self.queued and self.queued[0] in FAILS else None)
        cause = sent.why or (
            "" if self.queued and not state else cluster.cause_in(cluster.tail(folder / sent.slurm_log))
        )
        if state is None and not cause:
            return None
        named = f"SLURM job {sent.id}" if sent.id else "sbatch"
        return ": ".join(filter(None, (named, state, cause)))


@dataclass
class Status:
    """States of the jobs of a study.

    Attributes:
        counts: stage → number of jobs in each state, in the order of the jobs.
        failures: failed jobs with their errors.
        waits: reason in the cluster's queue → number of jobs that wait for it.
    """

    counts: dict[str, Counter[State]] = field(default_factory=dict)
    failures: list[tuple[Job, str]] = field(default_factory=list)
    waits: Counter[str] = field(default_factory=Counter)


def state_of(job: Job, folder: Path, *, alive: bool, word: Word | None = None) -> State:
    """State of one job of a study that runs in ``folder``.

    A job opens its log when it starts, removes nothing from it, and its last line says ``error: …`` where it failed.

    Args:
        alive: whether a Snakemake runs in the folder; without one nothing is running, unless a cluster says so.
        word: information of a cluster about the job; its log may be missing or from an earlier try.
    """
    if all((folder / path).is_file() for path in job.outputs):
        return "done"
    if word is not None:
        if word.submission.ended is None and word.queued is not None:
            if word.queued[0] in WAITS:
                return "waiting"
            if word.queued[0] in RUNS:
                return "running"
        if word.failure(folder) is not None:
            return "failed"
    log = folder / job.log
    if not log.is_file():
        return "to do"
    if error_in(log):
        return "failed"
    return "running" if alive else "to do"


def error_in(log: Path) -> str | None:
    """The line of a job's log with the reason of its failure, None without one."""
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


def status(jobs: Sequence[Job], folder: Path) -> Status:
    """States of ``jobs``, their errors, and what waiting jobs wait for."""
    alive, words = snakemake_lives(folder), _words(folder)
    found = Status()
    for job in jobs:
        word = words.get(str(job.log))
        state = state_of(job, folder, alive=alive, word=word)
        found.counts.setdefault(job.stage, Counter())[state] += 1
        if state == "failed":
            found.failures.append((job, _error(job, folder, word)))
        elif state == "waiting" and word is not None and word.queued is not None:
            found.waits[word.queued[1]] += 1
    return found


def waiting(reason: str, number: int) -> str:
    """One line about jobs that wait for ``reason``."""
    meaning = FOR_EVER.get(reason)
    return f"waiting: {number:,} {'job' if number == 1 else 'jobs'}: {reason}" + (
        f": for ever: {meaning}" if meaning else ""
    )


def _error(job: Job, folder: Path, word: Word | None) -> str:
    """The job's own last line where it is of this try, else what the cluster says."""
    log = folder / job.log
    own = error_in(log) if log.is_file() else None
    if word is None:
        return own or ""
    noted = word.submission.logs.get(str(job.log))
    of_this_try = log.is_file() and (word.submission.ended is not None or noted != log.stat().st_mtime_ns)
    return own if own and of_this_try else word.failure(folder) or own or ""


def _words(folder: Path) -> Mapping[str, Word]:
    """Log of a job → what SLURM says about it; empty where the last run did not use SLURM.

    A log that was written after the end of its submission is of a later run elsewhere, of which SLURM knows nothing.
    """
    sent = cluster.submissions(folder)
    if not sent:
        return {}
    queued = cluster.queue(one.run for one in sent.values() if one.ended is None) or {}
    times = cluster.times((log for log, one in sent.items() if one.ended is not None), folder)
    return {
        log: Word(one, queued.get(one.id))
        for log, one in sent.items()
        if one.ended is None or times[log] == one.logs[log]
    }

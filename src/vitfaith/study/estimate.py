"""Estimated cost of a study: jobs, network passes, hours and disk, from the times of earlier jobs."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vitfaith.artifacts.store import read_provenance
from vitfaith.errors import VitfaithError
from vitfaith.study.jobs import Job

_SAMPLED = 3
"""Finished jobs of a kind that are looked at."""


@dataclass
class Cost:
    """Of one image, or of one job of tables and figures; sums over finished jobs, and over how many images."""

    images: int = 0
    forwards: float = 0
    backwards: float = 0
    seconds: float = 0
    bytes: float = 0
    jobs: int = 0

    def add(self, job: Job, folder: Path) -> None:
        """Add what a finished job took."""
        facts = _facts(folder / job.outputs[0])
        self.forwards += facts.get("forwards", 0)
        self.backwards += facts.get("backwards", 0)
        self.seconds += _seconds(folder / job.benchmark)
        self.bytes += sum((folder / path).stat().st_size for path in job.outputs)
        self.images += max(job.images, 1)
        self.jobs += 1


@dataclass
class Row:
    """Estimate of one stage; passes, hours and disk are of the jobs still to do, None where nobody can say.

    Attributes:
        unknown: jobs without similar finished jobs; passes are counted if possible, hours and disk are guessed.
        guessed: unknown jobs whose hours and disk were guessed.
        uncounted: unknown jobs whose passes could not be counted.
        memory: MB of main memory that the largest job asks of a cluster, in its first try.
        minutes: that the longest job asks.
    """

    stage: str
    jobs: int = 0
    to_do: int = 0
    images: int = 0
    forwards: float | None = 0
    backwards: float | None = 0
    hours: float | None = 0
    gigabytes: float | None = 0
    unknown: int = 0
    guessed: int = 0
    uncounted: int = 0
    memory: int = 0
    minutes: int = 0


def _facts(path: Path) -> dict[str, float]:
    if path.suffix != ".parquet":
        return {}
    try:
        return {k: v for k, v in read_provenance(path, checked=False).items() if isinstance(v, int | float)}
    except (VitfaithError, OSError, ValueError):
        return {}


def _seconds(benchmark: Path) -> float:
    if not benchmark.is_file():
        return 0.0
    lines = benchmark.read_text().splitlines()
    return float(json.loads(lines[-1])["s"]) if lines else 0.0


def costs(jobs: Sequence[Job], folder: Path) -> dict[tuple[str, ...], Cost]:
    """Cost by kind of job, from at most three finished jobs a kind."""
    found: dict[tuple[str, ...], Cost] = {}
    for job in jobs:
        if not all((folder / path).is_file() for path in job.outputs):
            continue
        if found.get(job.kinds[0], Cost()).jobs >= _SAMPLED:
            continue
        for kind in dict.fromkeys(job.kinds):
            found.setdefault(kind, Cost()).add(job, folder)
    return found


def estimate(
    jobs: Sequence[Job],
    folder: Path,
    known: dict[tuple[str, ...], Cost],
    count: Callable[[Job], tuple[float, float] | None] = lambda job: None,
    guess: Callable[[Job, tuple[float, float] | None], tuple[float, float] | None] = lambda job, passes: None,
    asked: Callable[[Job], tuple[int, int]] = lambda job: (0, 0),
) -> list[Row]:
    """One row per stage, in the order of ``jobs``.

    Args:
        known: cost by kind of job, from this study's folder or another's (see :func:`costs`).
        count: forward and backward passes of one image of a job that nothing like has run yet, None where it cannot say.
        guess: seconds and bytes of such a job, given these passes; None where it cannot say.
        asked: MB of main memory and minutes that a job asks of a cluster.
    """
    rows: dict[str, Row] = {}
    there = {path for path in {p for job in jobs for p in (*job.outputs, *job.reads)} if (folder / path).is_file()}
    for job in jobs:
        row = rows.setdefault(job.stage, Row(job.stage))
        row.jobs += 1
        row.images += job.images
        memory, minutes = asked(job)
        row.memory, row.minutes = max(row.memory, memory), max(row.minutes, minutes)
        # tables, figures and page run again when a result that they read changes
        if there.issuperset(job.outputs) and there.issuperset(job.reads):
            continue
        row.to_do += 1
        cost = next((known[kind] for kind in job.kinds if kind in known), None)
        if cost is None:
            row.unknown += 1
            passes = count(job)
            if passes is None:
                row.uncounted += 1
            else:
                row.forwards = (row.forwards or 0) + job.images * passes[0]
                row.backwards = (row.backwards or 0) + job.images * passes[1]
            guessed = guess(job, passes)
            if guessed is not None:
                row.guessed += 1
                row.hours = (row.hours or 0) + guessed[0] / 3600
                row.gigabytes = (row.gigabytes or 0) + guessed[1] / 1e9
            continue
        share = max(job.images, 1) / cost.images
        for name, value in (
            ("forwards", cost.forwards),
            ("backwards", cost.backwards),
            ("hours", cost.seconds / 3600),
            ("gigabytes", cost.bytes / 1e9),
        ):
            setattr(row, name, getattr(row, name) + share * value)
    for row in rows.values():
        if row.unknown > row.guessed:
            row.hours = row.gigabytes = None
        if row.uncounted:
            row.forwards = row.backwards = None
    return list(rows.values())

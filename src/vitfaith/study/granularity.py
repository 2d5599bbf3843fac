"""Whether jobs are long enough for a cluster, where each submission costs additional time."""

from __future__ import annotations

from collections.abc import Sequence

from vitfaith.study.estimate import Row

OVERHEAD = 26.0
"""Seconds of a submission in which no stage works: the queue, three starts of Snakemake, imports (docs/slurm.md)."""

SHORT = 120.0
"""Seconds below which a job is too short to be submitted alone."""

GROUPS = {"attribute": "explain", "score": "explain"}
"""Stage → the group of the SLURM profile that submits it together with others; other stages are submitted alone."""

_FEW = 8


def useful_share(seconds: float) -> float:
    """Share of a submission's time in which the stage works."""
    return seconds / (seconds + OVERHEAD)


def short_jobs(rows: Sequence[Row]) -> list[str]:
    """One line for each kind of submission that is short on average and of which there are many to do."""
    submissions: dict[str, list[Row]] = {}
    for row in rows:
        if row.to_do and row.hours is not None and not row.guessed:
            submissions.setdefault(GROUPS.get(row.stage, row.stage), []).append(row)
    lines = []
    for group, members in submissions.items():
        number = max(row.to_do for row in members)
        seconds = sum(row.hours or 0 for row in members) * 3600 / number
        if number < _FEW or seconds >= SHORT:
            continue
        name = "+".join(row.stage for row in members)
        together = min(number, max(2, round(300 / max(seconds, 1))))
        groups = "" if group in GROUPS.values() else f"--groups {group}={group} "
        lines.append(
            f"{name}: {number:,} submissions of about {seconds:.0f} s, of which a cluster's overhead leaves "
            f"{useful_share(seconds):.0%} useful: raise shard_size, or submit several as one: "
            f"{groups}--group-components {group}={together}"
        )
    return lines

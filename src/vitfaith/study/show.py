"""Plan and status of a study as tables on the terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vitfaith.study.estimate import Row
from vitfaith.study.needs import PER_SECOND_CPU, PER_SECOND_GPU
from vitfaith.study.status import STATES, State, Status, waiting

if TYPE_CHECKING:
    from rich.table import Table

HINT = (
    "≈ = nothing like it has run yet: run one shard, or name the folder of an earlier run with --like. Until then passes are "
    "counted on one image and a small stand-in for the networks (? = not counted), disk comes from shapes, and hours are for "
    "a slow {device}, {rate:.0f} forward passes of a ViT-B per second"
)

DONE = "done = the files exist, with any settings: vitfaith run STUDY -n lists jobs that will run again"


def _table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Table:
    from rich.table import Table

    table = Table(box=None, header_style="bold")
    for place, column in enumerate(columns):
        words = [*column.split(), *(str(row[place]) for row in rows)]  # a narrow terminal must not cut a number
        widest = max(map(len, words))
        table.add_column(column, justify="left" if place == 0 else "right", min_width=widest)
    for row in rows:
        table.add_row(*map(str, row))
    return table


def _shown(value: float | None, digits: int, guessed: int = 0) -> str:
    if value is None:
        return "?"
    if guessed:
        return f"≈{value:,.0f}" if value >= 9.95 else f"≈{value:.2g}"
    return f"{value:,.{digits}f}"


def print_plan(rows: Sequence[Row], *, on_gpu: bool = True) -> None:
    """One line per stage, and the sum (of memory and minutes of a job: the most); guessed hours are for a GPU or a CPU."""
    from rich.console import Console

    total = Row("all", sum(r.jobs for r in rows), sum(r.to_do for r in rows), guessed=sum(r.guessed for r in rows))
    total.memory, total.minutes = (max((getattr(r, name) for r in rows), default=0) for name in ("memory", "minutes"))
    for name in ("forwards", "backwards", "hours", "gigabytes"):
        values = [getattr(r, name) for r in rows]
        setattr(total, name, None if None in values else sum(values))
    columns = (
        "stage",
        "jobs",
        "to do",
        "images",
        "forwards",
        "backwards",
        "hours of one device",
        "GB",
        "asked per job",
    )
    lines = [
        (
            r.stage,
            f"{r.jobs:,}",
            f"{r.to_do:,}",
            f"{r.images:,}" if r.images else "",
            _shown(r.forwards, 0),
            _shown(r.backwards, 0),
            _shown(r.hours, 2, r.guessed),
            _shown(r.gigabytes, 3, r.guessed),
            f"{r.memory / 1000:.1f} GB, {r.minutes} min",
        )
        for r in [*rows, total]
    ]
    console = Console()
    console.print(_table(columns, lines), crop=False)
    if any(r.unknown for r in rows):
        device, rate = ("GPU", PER_SECOND_GPU) if on_gpu else ("CPU", PER_SECOND_CPU)
        console.print(HINT.format(device=device, rate=rate))


def print_status(found: Status) -> None:
    """One line per stage, per reason of waiting, and per failed job with its log and error."""
    from rich.console import Console

    console = Console(soft_wrap=True)
    total: Counter[State] = sum(found.counts.values(), Counter())
    lines = [(stage, c.total(), *(c[s] for s in STATES)) for stage, c in [*found.counts.items(), ("all", total)]]
    console.print(_table(("stage", "jobs", *STATES), lines))
    if total["done"]:
        console.print(DONE)
    for reason, number in found.waits.most_common():
        console.print(waiting(reason, number), markup=False)
    for job, error in found.failures:
        console.print(f"failed: {job.log}: {error}", markup=False)

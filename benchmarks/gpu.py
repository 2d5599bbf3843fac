"""One script for one GPU: is it right, how large may batches be, how fast is it, does memory stay flat, do two jobs fit.

    python -m benchmarks.gpu --out FOLDER [--page docs/performance-gpu.md] [--minutes 5.7] [--only correctness throughput]

Needs no network and no files beside those of the repository: large networks have random weights. ``gpu.json`` in the
folder is written after each row, so a run that is killed loses nothing; ``--from FOLDER/gpu.json`` makes the page anew
without measuring. A row that fails says how, and the script goes on. ``--device cpu --small`` takes the same way through
the code on 28-pixel networks. The package need not be installed: ``PYTHONPATH=src`` is enough.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from benchmarks.gpu_sections import (
    correctness,
    further,
    growth,
    library,
    page,
    sharing,
    sizes,
    stages,
    throughput,
    training,
)  # fmt: skip
from benchmarks.gpu_sections.setup import Case, Row, Setup, machine

SECTIONS: dict[str, tuple[Callable[[Setup], Iterator[Case]], float]] = {
    "stages": (stages.cases, 0.7),
    "correctness": (correctness.cases, 1.9),
    "library": (library.cases, 0.1),
    "further": (further.cases, 0.1),
    "training": (training.cases, 0.3),
    "batch sizes": (sizes.cases, 1.0),
    "throughput": (throughput.cases, 2.1),
    "memory": (growth.cases, 0.5),
    "two processes": (sharing.cases, 0.9),
}
"""Heading → its cases, and its share of the time."""


def run(
    setup: Setup, names: list[str], minutes: float, every: int, save: Callable[[dict[str, list[Row]]], None]
) -> dict[str, Any]:
    """Rows by section. What a section leaves of its time is for those after it; a case that began may use what is left of all."""
    shares = {name: SECTIONS[name][1] for name in names}
    begin, tables = time.monotonic(), dict[str, list[Row]]()
    due = 0.0
    for name in names:
        due += 60 * minutes * shares[name] / sum(shares.values())
        tables[name] = []
        print(f"\n## {name}", flush=True)
        for what, action in islice(_guarded(SECTIONS[name][0](setup)), 0, None, every):
            late = time.monotonic() - begin > due
            left = begin + 60 * minutes - time.monotonic()
            row = {"what": what, **(dict(LATE) if late else _row(action, max(0.01, left)))}
            tables[name].append(row)
            shown = ", ".join(f"{key} {value}" for key, value in row.items() if key not in ("what", "trace"))
            print(f"{time.monotonic() - begin:6.1f} s  {what}: {shown}", flush=True)
            save(tables)
            if page.is_bad(row):
                setup.free()
        setup.free()
    return tables


def _guarded(cases: Iterator[Case]) -> Iterator[Case]:
    """The cases; where the next one cannot even be prepared, a case that says so, and the end."""
    try:
        yield from cases
    except Exception as error:
        failed = error

        def fail() -> Row:
            raise failed

        yield "the rest of the section", fail


LATE: Row = {"result": "skipped: no time left"}


class _OutOfTimeError(Exception):
    """The minutes of the whole run are over."""


@contextmanager
def _limited(seconds: float | None) -> Iterator[None]:
    """Raise after ``seconds``; what the device computes just then is finished."""

    def stop(*_: object) -> None:
        raise _OutOfTimeError

    if seconds is None:
        yield
        return
    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _row(action: Callable[[], Row], seconds: float | None = None) -> Row:
    begin = time.perf_counter()
    try:
        with _limited(seconds):
            found = action()
    except _OutOfTimeError:
        found = dict(LATE)
    except ModuleNotFoundError as error:
        found = {"result": f"not installed: {error.name}"}
    except Exception as error:
        message = " ".join(str(error).split())[:300]
        found = {"result": f"error: {type(error).__name__}: {message}", "trace": traceback.format_exc()[-4000:]}
    return {**found, "took": round(time.perf_counter() - begin, 2)}


def main() -> int:
    """Measure, write JSON and page; 1 where a row differs or fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=["cuda", "cpu"])
    parser.add_argument("--small", action="store_true", help="28-pixel networks, few rows")
    parser.add_argument("--out", type=Path, default=Path("gpu-results"))
    parser.add_argument("--page", type=Path, help="Markdown page to write")
    parser.add_argument("--from", type=Path, dest="source", help="JSON of an earlier run, to make the page from")
    parser.add_argument("--minutes", type=float, default=5.7, help="after the start of torch; none is exceeded")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--every", type=int, default=1, help="measure each n-th row alone")
    parser.add_argument("--threads", type=int, default=4, help="of the CPU; its networks are small")
    parser.add_argument("--worker", type=float, help="for the section 'two processes': seconds to score for")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        setup = Setup(options.device, options.small, Path(folder), repeats=1 if options.small else 3)
        if options.worker:
            print(json.dumps(sharing.work(setup, options.worker)), flush=True)
            return 0
        if options.source:
            facts = json.loads(options.source.read_text(encoding="utf-8"))
        else:
            options.out.mkdir(parents=True, exist_ok=True)
            command = " ".join(["python -m benchmarks.gpu", *sys.argv[1:]])
            facts = {"machine": machine(options.device), "command": command, "minutes": 0.0, "tables": {}}
            print(json.dumps(facts["machine"], indent=1), flush=True)
            begin = time.monotonic()

            def save(tables: dict[str, list[Row]]) -> None:
                facts["tables"], facts["minutes"] = tables, round((time.monotonic() - begin) / 60, 2)
                written = options.out / "gpu.json.part"
                written.write_text(json.dumps(facts, indent=1, ensure_ascii=False), encoding="utf-8")
                written.replace(options.out / "gpu.json")

            run(setup, [name for name in SECTIONS if name in options.only], options.minutes, options.every, save)
    text = page.text(facts)
    for path in [options.page, None if options.source else options.out / "gpu.md"]:
        if path is not None:
            path.write_text(text, encoding="utf-8")
    return int(any(page.is_bad(row) for rows in facts["tables"].values() for row in rows))


if __name__ == "__main__":
    sys.exit(main())

"""How many forgotten device arguments are noticed: each one in the package is deleted in turn, and rows that reach it run.

    python -m tests.devices.deletions [--every N] [--rows explainer metric] [--within explainers/] [--text 'usable.to']

Deleted are ``device=`` of torch's factories and of functions of the package that can do without, ``.to(device)``, the device
of ``.to(tensor)``, ``.cpu()`` and ``upload``. A deletion is caught where a row of the GPU script fails on a GPU that is none, or
has other numbers than the CPU. Each runs in a fork, with functions changed in place. ``equivalent.yaml`` lists
the deletions that change nothing, with the reason; one of these that is caught is reported too.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import yaml
from benchmarks import gpu
from benchmarks.gpu_sections import correctness, further, library, stages, training
from benchmarks.gpu_sections.setup import Case, Setup

from tests.devices import alone, tiny
from tests.devices.fake_cuda import fake_cuda
from tests.devices.sites import PACKAGE, Site, delete, forget, sites
from vitfaith.models.fast.switch import fast_paths

SECTIONS = (stages.cases, correctness.cases, library.cases, further.cases, training.cases, alone.cases)
SECONDS = 120
"""After which a fork is given up; it counts as not caught."""
ROWS = 24
"""About how many rows a deletion is tried by first."""
UNKNOWN = 3
EQUIVALENT = Path(__file__).with_name("equivalent.yaml")


@dataclass
class Row:
    """A row of the GPU script: lines of the package that it runs, and how long it takes."""

    section: int
    what: str
    reached: set[tuple[str, int]] = field(default_factory=set)
    seconds: float = 0.0

    def reaches(self, site: Site) -> bool:
        """Whether a line of the site runs."""
        first, last = site.lines
        return any((str(site.path), line) in self.reached for line in range(first, last + 1))


def _cases(setup: Setup, section: int) -> Iterator[Case]:
    yield from SECTIONS[section](setup)


@contextmanager
def _noting(lines: set[tuple[str, int]]) -> Iterator[None]:
    """Add the lines of the package that run."""

    def note(frame: Any, event: str, _argument: Any) -> Any:
        if event == "line":
            lines.add((frame.f_code.co_filename, frame.f_lineno))
        return note

    def enter(frame: Any, _event: str, _argument: Any) -> Any:
        return note if frame.f_code.co_filename.startswith(str(PACKAGE)) else None

    before = sys.gettrace()
    sys.settrace(enter)
    try:
        yield
    finally:
        sys.settrace(before)


def reach(setup: Setup, wanted: Sequence[str]) -> list[Row]:
    """The rows whose names begin with one of ``wanted``, each run once.

    Raises:
        AssertionError: a row fails before anything is deleted.
    """
    rows = []
    for section in range(len(SECTIONS)):
        for what, action in _cases(setup, section):
            if not what.startswith(tuple(wanted)):
                continue
            row = Row(section, what)
            forget()
            begin = time.perf_counter()
            with _noting(row.reached):
                result = action()
            row.seconds = time.perf_counter() - begin
            if is_noticed(result):
                raise AssertionError(f"{what} fails before anything is deleted: {result}")
            rows.append(row)
    return rows


def is_noticed(result: dict[str, Any]) -> bool:
    """Whether a row failed or has other numbers than the CPU."""
    return bool(result["result"] != "ok" or result["largest"] > 0)


def is_caught(site: Site, rows: Sequence[Row], setup: Setup) -> bool:
    """Whether one of ``rows`` notices.

    Raises:
        LookupError: nothing imported has the site.
    """
    child = os.fork()
    if child:
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code == UNKNOWN:
            raise LookupError(f"nothing imported has {site}")
        return code == 1
    signal.alarm(SECONDS)
    try:
        delete(site)
    except LookupError:
        os._exit(UNKNOWN)
    try:
        os._exit(int(_notices(rows, setup)))
    except BaseException:
        os._exit(1)


def _in_order(rows: Sequence[Row]) -> list[Row]:
    """The quickest rows, some of the others, since rows that take as long are alike, and then the rest."""
    ranked = sorted(rows, key=lambda row: row.seconds)
    quick = ROWS // 2
    first = ranked[:quick] + ranked[quick :: max(1, len(ranked[quick:]) // (ROWS - quick))]
    return first + [row for row in ranked if row not in first]


def _notices(rows: Sequence[Row], setup: Setup) -> bool:
    for row in _in_order(rows):
        for what, action in _cases(setup, row.section):
            if what == row.what:
                if is_noticed(gpu._row(action)):
                    return True
                break
    return False


def equivalent() -> dict[tuple[str, str], str]:
    """File and text of each deletion that changes nothing → the reason."""
    listed = yaml.safe_load(EQUIVALENT.read_text(encoding="utf-8"))
    return {(path, text): why for path, reasons in listed.items() for text, why in reasons.items()}


def measure(
    folder: Path, wanted: Sequence[str], every: int = 1, within: Sequence[str] = ("",), text: str = ""
) -> dict[Site, str]:
    """Each ``every``-th site that a row reaches → "caught", "missed", "equivalent"; where every row ran, "not reached".

    Args:
        wanted: beginnings of the names of rows; "" is all.
        within: beginnings of the paths of files in the package.
        text: part of the sites' text.
    """
    setup = tiny.setup(folder)
    rows = reach(setup, wanted)
    asked = [site for site in sites() if site.where.startswith(tuple(within)) and text in site.text]
    reached = {site: [row for row in rows if row.reaches(site)] for site in asked}
    chosen = [site for site in reached if reached[site] or "" in wanted][::every]
    harmless, found = equivalent(), {}
    for site in chosen:
        listed = (site.where, site.text) in harmless
        if reached[site] and is_caught(site, reached[site], setup):
            found[site] = "equivalent, but caught" if listed else "caught"
        else:
            found[site] = "equivalent" if listed else "missed" if reached[site] else "not reached"
        print(f"{found[site]:12} {site}", file=sys.stderr, flush=True)
    return found


@contextmanager
def on_fake_gpu() -> Iterator[None]:
    """One thread, a GPU that is none, no kernels that are faster and round otherwise, and silence on the standard output."""
    torch.set_num_threads(1)
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere), fake_cuda(), fast_paths(on=False):
        yield


def run(folder: Path, wanted: Sequence[str], every: int = 1, within: Sequence[str] = ("",)) -> dict[Site, str]:
    """As :func:`measure`, on a GPU that is none, in silence."""
    with Path(os.devnull).open("w") as nowhere, redirect_stderr(nowhere), on_fake_gpu():
        return measure(folder, wanted, every, within)


def main() -> None:
    """Print every site as it is tried, those that are not caught, and the shares."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--within", nargs="+", default=[""], help="beginnings of files' paths in the package")
    parser.add_argument("--rows", nargs="+", default=[""], help="beginnings of the rows' names")
    parser.add_argument("--text", default="", help="part of the sites' text")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, on_fake_gpu():
        found = measure(Path(folder), options.rows, options.every, options.within, options.text)
    for site, result in found.items():
        if result not in ("caught", "equivalent"):
            print(f"{result:12} {site}")
    counts = Counter(found.values())
    print(", ".join(f"{count} {result}" for result, count in counts.items()))
    counted = len(found) - counts["equivalent"]
    print(f"caught: {counts['caught']} of {counted} that are not equivalent, {counts['caught'] / max(1, counted):.1%}")


if __name__ == "__main__":
    main()

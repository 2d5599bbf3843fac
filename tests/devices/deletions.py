"""How many forgotten device arguments are noticed: each one in the package is deleted in turn, and the rows that reach it run.

    python -m tests.devices.deletions [--every N] [--rows explainer metric] [--within explainers/]

Deleted are ``device=`` of torch's factories, ``.to(device)``, ``.cpu()`` and ``upload``. A deletion is caught where a row of the
GPU script fails on a GPU that is none, or has other numbers than the CPU. Each runs in a fork, with functions changed in place.
"""

from __future__ import annotations

import argparse
import ast
import gc
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import torch
from benchmarks import gpu
from benchmarks.gpu_sections import correctness, library, stages, training

import vitfaith
from tests.devices import tiny
from tests.devices.fake_cuda import fake_cuda
from vitfaith.models.fast.switch import fast_paths

PACKAGE = Path(str(vitfaith.__file__)).parent
SECTIONS = (stages.cases, correctness.cases, library.cases, training.cases)
SECONDS = 60
"""After which a fork is given up; it counts as not caught."""
Place = tuple[str, int]
"""File and first line of a function."""


@dataclass(frozen=True)
class Site:
    """One device argument.

    Attributes:
        inner: the function in which it stands; its rows are run.
        outer: the function or method that holds that one, whose code is exchanged.
    """

    path: Path
    number: int
    line: int
    text: str
    inner: Place
    outer: Place

    def __str__(self) -> str:
        return f"{self.path.relative_to(PACKAGE)}:{self.line}: {self.text}"


def _without_device(call: ast.Call) -> ast.expr | None:
    """The call without its device; None where it names none."""
    function = call.func
    if isinstance(function, ast.Name):
        return call.args[0] if function.id == "upload" else None
    if not isinstance(function, ast.Attribute):
        return None
    if function.attr == "cpu" and not call.args:
        return function.value
    if function.attr == "to" and call.args and _names_device(call.args[0]):
        rest = call.args[1:]
        return ast.Call(function, rest, []) if rest else function.value
    factory = isinstance(function.value, ast.Name) and function.value.id == "torch"
    named = [k for k in call.keywords if k.arg == "device" and not isinstance(k.value, ast.Constant)]
    if named and (factory or function.attr.startswith("new_")) and function.attr != "load":
        return ast.Call(function, call.args, [k for k in call.keywords if k not in named])
    return None


def _names_device(argument: ast.expr) -> bool:
    """Whether the first argument of ``.to`` is a device or a tensor, and no type of numbers."""
    text = ast.unparse(argument)
    return "device" in text or not any(word in text for word in ("dtype", "torch.", "memory_format"))


class _Deletion(ast.NodeTransformer):
    """Counts the sites of a file, and deletes the one of a ``number``."""

    def __init__(self, path: Path, number: int | None = None) -> None:
        self.path, self.number, self.count = path, number, 0
        self.functions: list[Place] = []
        self.sites: list[Site] = []

    def _function(self, node: Any) -> Any:
        first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
        self.functions.append((str(self.path), first))
        node.body = [self.visit(part) for part in node.body]
        self.functions.pop()
        return node

    visit_FunctionDef = _function  # noqa: N815

    def visit_Call(self, node: ast.Call) -> Any:
        before = ast.unparse(node)
        self.generic_visit(node)
        found = _without_device(node) if self.functions else None
        if found is None:
            return node
        number, self.count = self.count, self.count + 1
        self.sites.append(Site(self.path, number, node.lineno, before[:90], self.functions[-1], self.functions[0]))
        return ast.copy_location(found, node) if number == self.number else node


def sites() -> list[Site]:
    """All device arguments in functions of the package."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        deletion = _Deletion(path)
        deletion.visit(ast.parse(path.read_text(encoding="utf-8")))
        found += deletion.sites
    return found


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def delete(site: Site) -> None:
    """Take the device out of the functions that live in this process.

    Raises:
        LookupError: nothing imported has the site.
    """
    tree = _Deletion(site.path, site.number).visit(ast.parse(site.path.read_text(encoding="utf-8")))
    flags = 0x1000000  # from __future__ import annotations
    module = compile(ast.fix_missing_locations(tree), str(site.path), "exec", flags, dont_inherit=True)
    changed = next(
        code for code in _codes(module) if code.co_firstlineno == site.outer[1] and code.co_name != "<module>"
    )
    found = 0
    for function in gc.get_objects():
        if isinstance(function, FunctionType):
            code = function.__code__
            if (code.co_filename, code.co_firstlineno) == site.outer and code.co_name == changed.co_name:
                function.__code__ = changed
                found += 1
    if not found:
        raise LookupError(str(site))


@dataclass
class Row:
    """A row of the GPU script: functions of the package that it calls, and how long it takes."""

    section: int
    what: str
    reached: set[Place] = field(default_factory=set)
    seconds: float = 0.0


def _cases(folder: Path, section: int) -> Iterator[tuple[str, Callable[[], dict[str, Any]]]]:
    yield from SECTIONS[section](tiny.setup(folder))


def reach(folder: Path, wanted: Sequence[str]) -> list[Row]:
    """The rows whose names begin with one of ``wanted``, each run once."""
    rows = []
    for section in range(len(SECTIONS)):
        for what, action in _cases(folder, section):
            if not what.startswith(tuple(wanted)):
                continue
            row = Row(section, what)

            def note(frame: Any, event: str, _argument: Any, row: Row = row) -> None:
                if event == "call":
                    row.reached.add((frame.f_code.co_filename, frame.f_code.co_firstlineno))

            begin = time.perf_counter()
            sys.setprofile(note)
            try:
                result = action()
            finally:
                sys.setprofile(None)
            row.seconds = time.perf_counter() - begin
            if result["result"] != "ok" or result["largest"] > 0:
                raise AssertionError(f"{what} fails before anything is deleted: {result}")
            rows.append(row)
    return rows


def is_caught(site: Site, rows: Sequence[Row], folder: Path) -> bool:
    """Whether one of ``rows`` notices, the quickest first."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
    signal.alarm(SECONDS)
    try:
        os._exit(int(_notices(site, rows, folder)))
    except BaseException:
        os._exit(1)


def _notices(site: Site, rows: Sequence[Row], folder: Path) -> bool:
    delete(site)
    for row in sorted(rows, key=lambda row: row.seconds):
        for what, action in _cases(folder, row.section):
            if what == row.what:
                found = gpu._row(action)
                if found["result"] != "ok" or found["largest"] > 0:
                    return True
                break
    return False


def measure(folder: Path, wanted: Sequence[str], every: int = 1, within: Sequence[str] = ("",)) -> dict[Site, str]:
    """Each ``every``-th site that a row reaches → "caught", "missed"; and where every row was run, "not reached".

    Args:
        wanted: beginnings of the names of rows; "" is all.
        within: beginnings of the paths of files in the package.
    """
    rows = reach(folder, wanted)
    asked = [site for site in sites() if str(site.path.relative_to(PACKAGE)).startswith(tuple(within))]
    reached = {site: [row for row in rows if site.inner in row.reached] for site in asked}
    chosen = [site for site in reached if reached[site] or "" in wanted][::every]
    found = {}
    for site in chosen:
        caught = bool(reached[site]) and is_caught(site, reached[site], folder)
        found[site] = "caught" if caught else "missed" if reached[site] else "not reached"
    return found


def run(folder: Path, wanted: Sequence[str], every: int = 1, within: Sequence[str] = ("",)) -> dict[Site, str]:
    """As :func:`measure`, on a GPU that is none, in silence."""
    torch.set_num_threads(1)
    with (
        Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere),
        fake_cuda(), fast_paths(on=False),
    ):  # fmt: skip
        return measure(folder, wanted, every, within)


def main() -> None:
    """Print every site that is not caught, and the shares."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--within", nargs="+", default=[""], help="beginnings of files' paths in the package")
    parser.add_argument("--rows", nargs="+", default=[""], help="beginnings of the rows' names")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = run(Path(folder), options.rows, options.every, options.within)
    for site, result in found.items():
        if result != "caught":
            print(f"{result:12} {site}")
    counts = {result: list(found.values()).count(result) for result in ("caught", "missed", "not reached")}
    print(", ".join(f"{count} {result}" for result, count in counts.items()))


if __name__ == "__main__":
    main()

"""The device arguments of the package, and the package without one of them."""

from __future__ import annotations

import ast
import functools
import gc
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import vitfaith

PACKAGE = Path(str(vitfaith.__file__)).parent
FUTURE_ANNOTATIONS = 0x1000000
Place = tuple[str, int]
"""File and first line of a function."""
Optional = dict[str, int | None]
"""Functions of the package that can do without a device → place of that argument, None where it must be named."""


@dataclass(frozen=True)
class Site:
    """One device argument.

    Attributes:
        number: place among the sites of the file.
        lines: first and last line of the call.
        outer: the function or method whose code is exchanged; other functions may stand between it and the site.
    """

    path: Path
    number: int
    lines: tuple[int, int]
    text: str
    outer: Place

    @property
    def where(self) -> str:
        """Path in the package."""
        return self.path.relative_to(PACKAGE).as_posix()

    def __str__(self) -> str:
        return f"{self.where}:{self.lines[0]}: {self.text}"


@functools.cache
def optional_devices() -> Optional:
    """Where a forgotten device is no error of the call: a required one is noticed by any type checker."""
    found: Optional = {}
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.FunctionDef):
                continue
            names = [argument.arg for argument in node.args.args]
            if "device" in names and len(names) - names.index("device") <= len(node.args.defaults):
                found[node.name] = names.index("device") - (names[0] in ("self", "cls"))
            keywords = zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
            if any(argument.arg == "device" and default is not None for argument, default in keywords):
                found[node.name] = None
    return found


def without_device(call: ast.Call, source: str) -> ast.expr | None:
    """The call without its device; None where it names none.

    Args:
        source: text of the file.
    """
    function = call.func
    name = (
        function.id if isinstance(function, ast.Name) else function.attr if isinstance(function, ast.Attribute) else ""
    )
    if name == "upload":
        return call.args[0]
    if isinstance(function, ast.Attribute):
        if name in ("cpu", "cuda") and not call.args:
            return function.value
        if name == "to" and call.args and _is_place(call.args[0]):
            rest = [*_dtype_of(call.args[0], source), *call.args[1:]]
            return ast.Call(function, rest, []) if rest else function.value
        factory = isinstance(function.value, ast.Name) and function.value.id == "torch"
        if (factory and name != "load") or name.startswith("new_"):
            return _without_keyword(call)
    if name in optional_devices():
        place = optional_devices()[name]
        if place is not None and len(call.args) > place:
            return ast.Call(function, call.args[:place], call.keywords)
        return _without_keyword(call)
    return None


def _without_keyword(call: ast.Call) -> ast.expr | None:
    named = [k for k in call.keywords if k.arg == "device" and not isinstance(k.value, ast.Constant)]
    return ast.Call(call.func, call.args, [k for k in call.keywords if k not in named]) if named else None


def _is_place(argument: ast.expr) -> bool:
    """Whether the first argument of ``.to`` is a device or a tensor, and no type of numbers."""
    text = ast.unparse(argument)
    if isinstance(argument, ast.Call):
        return text.startswith("torch.device(")
    return "device" in text or not any(word in text for word in ("dtype", "torch.", "memory_format"))


def _dtype_of(argument: ast.expr, source: str) -> list[ast.expr]:
    """A tensor names a device and a type, of which the type stays."""
    text = ast.unparse(argument)
    is_device = "device" in text or isinstance(argument, ast.Constant)
    if is_device or re.search(rf"\b{re.escape(text)}\b[^=\n]*= torch\.device\(", source):
        return []
    return [ast.Attribute(argument, "dtype", ast.Load())]


class Deletion(ast.NodeTransformer):
    """Counts the sites of a file, and deletes the one of a ``number``."""

    def __init__(self, path: Path, number: int | None = None) -> None:
        self.path, self.number, self.count = path, number, 0
        self.source = path.read_text(encoding="utf-8")
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
        before, lines = ast.unparse(node), (node.lineno, node.end_lineno or node.lineno)
        self.generic_visit(node)
        found = without_device(node, self.source) if self.functions else None
        if found is None:
            return node
        number, self.count = self.count, self.count + 1
        self.sites.append(Site(self.path, number, lines, before, self.functions[0]))
        return ast.copy_location(found, node) if number == self.number else node


def sites() -> list[Site]:
    """All device arguments in functions of the package."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        deletion = Deletion(path)
        deletion.visit(ast.parse(deletion.source))
        found += deletion.sites
    return found


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def delete(site: Site) -> None:
    """Take the device out of the functions that live in this process, and forget what functions remember.

    Raises:
        LookupError: nothing imported has the site.
    """
    deletion = Deletion(site.path, site.number)
    tree = ast.fix_missing_locations(deletion.visit(ast.parse(deletion.source)))
    module = compile(tree, str(site.path), "exec", FUTURE_ANNOTATIONS, dont_inherit=True)
    changed = next(c for c in _codes(module) if c.co_firstlineno == site.outer[1] and c.co_name != "<module>")
    found = 0
    for function in gc.get_objects():
        if type(function) is functools._lru_cache_wrapper:
            _forget(function)
        elif type(function) is FunctionType:
            code = function.__code__
            if (code.co_filename, code.co_firstlineno) == site.outer and code.co_name == changed.co_name:
                function.__code__ = changed
                found += 1
    if not found:
        raise LookupError(str(site))


def forget() -> None:
    """Empty the caches of all functions of the package."""
    for function in gc.get_objects():
        if type(function) is functools._lru_cache_wrapper:
            _forget(function)


def _forget(function: Any) -> None:
    if str(function.__module__).startswith("vitfaith"):
        function.cache_clear()

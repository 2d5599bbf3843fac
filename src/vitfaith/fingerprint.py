"""Fingerprints of code: they change with logic and stay with comments, docstrings, formatting and checkouts.

A stage's fingerprint covers the modules that its entry module reaches by imports inside the package, found in the
syntax tree. Packages whose modules enter themselves in a registry are covered by naming the modules in use.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

PACKAGE = "vitfaith"
ROOT = Path(__file__).parent

DATA = (".css", ".html", ".j2", ".js")
"""Files that a module reads from its own folder and that are code: templates, styles and scripts of the page."""


def _path_of(module: str) -> Path | None:
    relative = ROOT.joinpath(*module.split(".")[1:])
    for candidate in (relative.with_suffix(".py"), relative / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


def _strip_docstrings(tree: ast.AST) -> ast.AST:
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [  # type: ignore[attr-defined]
                n
                for n in body
                if not (
                    isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant) and isinstance(n.value.value, str)
                )
            ]
    return tree


@cache
def _digest_of_file(path: Path) -> str:
    return digest_of_source(path.read_text(encoding="utf-8"))


@cache
def _digest_of_data(folder: Path) -> str:
    """The contents of a folder's templates and scripts; empty where it has none."""
    found = (path for path in sorted(folder.iterdir()) if path.suffix in DATA)
    return "".join(f"{path.name}={hashlib.blake2b(path.read_bytes(), digest_size=8).hexdigest()};" for path in found)


def digest_of_source(source: str) -> str:
    """Digest of a module's syntax tree without docstrings, comments and positions."""
    tree = _strip_docstrings(ast.parse(source))
    return hashlib.blake2b(ast.dump(tree).encode(), digest_size=8).hexdigest()


def _type_checking_only(tree: ast.AST) -> set[ast.AST]:
    skipped: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            for child in node.body:
                skipped.update(ast.walk(child))
    return skipped


@cache
def _imports_of(path: Path) -> tuple[str, ...]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = _type_checking_only(tree)
    found: set[str] = set()
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return tuple(sorted(name for name in found if name.split(".")[0] == PACKAGE and _path_of(name) is not None))


def reached_modules(entries: Iterable[str], stop: Iterable[str] = ()) -> list[str]:
    """Modules of the package that ``entries`` import, directly or not, themselves included.

    Names in ``stop`` (and modules below them) are left out: their use is named by the caller.
    """
    blocked = tuple(stop)
    todo, seen = list(entries), set()
    while todo:
        module = todo.pop()
        if module in seen or any(module == b or module.startswith(b + ".") for b in blocked):
            continue
        path = _path_of(module)
        if path is None:
            continue
        seen.add(module)
        todo.extend(_imports_of(path))
    return sorted(seen)


def fingerprint(entries: Iterable[str], stop: Iterable[str] = (), files: Iterable[Path] = ()) -> str:
    """Twelve hexadecimal digits for the code that ``entries`` (module names) and ``files`` (plugins) stand for.

    What a plugin imports of the package counts too, and so do templates and scripts (:data:`DATA`) beside a module.
    """
    digest, files = hashlib.blake2b(digest_size=6), list(files)
    folders: set[Path] = set()
    for module in reached_modules([*entries, *(module for file in files for module in _imports_of(file))], stop):
        path = _path_of(module)
        assert path is not None
        digest.update(f"{module}={_digest_of_file(path)};".encode())
        folders.add(path.parent)
    for folder in sorted(folders):
        digest.update(_digest_of_data(folder).encode())
    for file in files:
        digest.update(f"{file.name}={_digest_of_file(file)};".encode())
    return digest.hexdigest()

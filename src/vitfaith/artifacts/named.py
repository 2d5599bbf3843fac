"""Which result files the last run was asked for; what else lies in the folder is of earlier settings or other studies."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from vitfaith.artifacts.store import atomic_path

_NAME = ".named.json"


def write_named(results: Path, files: Iterable[str | Path]) -> None:
    """Remember ``files`` (below ``results``) as what the run makes; the record is a hidden file in the folder."""
    listed = sorted(Path(file).relative_to(results).as_posix() for file in files)
    with atomic_path(results / _NAME) as temporary:
        temporary.write_text(json.dumps(listed), encoding="utf-8")


def named_files(results: Path, found: Iterable[Path]) -> tuple[list[Path], list[Path]]:
    """``found`` as (files that the last run names, other files); where no run left a record, all are named."""
    found = list(found)
    try:
        listed = set(json.loads((results / _NAME).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return found, []
    named: list[Path] = []
    others: list[Path] = []
    for path in found:
        (named if path.relative_to(results).as_posix() in listed else others).append(path)
    return named, others

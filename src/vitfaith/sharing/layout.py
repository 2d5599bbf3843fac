"""Files of a benchmark, and their checksums."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

from vitfaith.artifacts.store import atomic_path
from vitfaith.errors import ArtifactError

STUDY, CARD, SUMS = "study.yaml", "README.md", "SHA256SUMS"
IMAGES, ORIGIN, BOARD = "images.parquet", "provenance.parquet", "leaderboard.parquet"

FOLDERS = ("attribute", "scores", "curves", "stability", "sanity", "certificates", "predictions")
"""Folders of results that a benchmark has under their own names. None holds pixels."""

OTHERS = ("tables", "train")
"""Further folders of a benchmark."""

TOP = (STUDY, CARD, IMAGES, ORIGIN, BOARD)
"""Files of a benchmark that lie in no folder."""


def benchmark_files(folder: Path) -> Iterator[Path]:
    """Files of the benchmark in ``folder``, relative to it and in their order, without the list of checksums.

    Plugins count; whatever else lies there does not: the data and weights that the study names by a path, a licence, and
    what adding maps leaves behind.
    """
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        own = inside.parts[0] in (*FOLDERS, *OTHERS) or str(inside) in TOP or _is_plugin(inside)
        if own and path.is_file():
            yield inside


def _is_plugin(inside: Path) -> bool:
    return inside.suffix == ".py" and inside.parts[0] not in ("results", "logs") and not inside.parts[0].startswith(".")


def write_sums(folder: Path) -> int:
    """Write the SHA-256 of every file as ``sha256sum --check`` reads them; returns the number of files."""
    lines = [f"{_digest(folder / path)}  {path.as_posix()}\n" for path in benchmark_files(folder)]
    with atomic_path(folder / SUMS) as temporary:
        temporary.write_text("".join(lines), encoding="utf-8")
    return len(lines)


def check_sums(folder: Path) -> None:
    """Compare every file with its checksum.

    Raises:
        ArtifactError: the folder is no benchmark, or a file is altered, missing or not listed.
    """
    sums = folder / SUMS
    if not sums.is_file():
        raise ArtifactError(f"'{folder}' is no benchmark: it has no {SUMS}; make one by vitfaith export")
    listed = _listed(sums)
    there = [path for path in listed if (folder / path).is_file()]
    found = {path.as_posix() for path in benchmark_files(folder)}
    wrong = {
        ("is missing", "get the benchmark again"): sorted(listed.keys() - there),
        ("is not listed", "move it out of the benchmark, or get the benchmark again"): sorted(found - listed.keys()),
        ("was altered", "get the benchmark again"): sorted(p for p in there if _digest(folder / p) != listed[p]),
    }
    for (what, remedy), paths in wrong.items():
        if paths:
            raise ArtifactError(f"'{folder / paths[0]}' {what} by {SUMS} ({len(paths)} such files); {remedy}")


def _listed(sums: Path) -> dict[str, str]:
    """Path → checksum of each line."""
    listed = {}
    try:
        lines = sums.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ArtifactError(f"'{sums}' is not UTF-8 text (byte {error.start}); get the benchmark again") from None
    for number, line in enumerate(lines, 1):
        parts = re.fullmatch(r"([0-9a-f]{64})  (.+)", line)
        if parts is None:
            raise ArtifactError(
                f"'{sums}', line {number}: '{line[:80]}' is no checksum, two spaces and a file; get the benchmark again"
            )
        listed[parts[2]] = parts[1]
    return listed


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

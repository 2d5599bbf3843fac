"""Records of outputs other than Parquet shards (figures, pages, text, weights): file digests and provenance as JSON."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vitfaith.artifacts.store import atomic_path
from vitfaith.errors import ArtifactError

OF_FOLDER = ".record.json"
"""Name of the record of a job that writes a whole folder. Hidden: dataset readers pass over names that begin with a dot."""


@dataclass(frozen=True)
class Record:
    """The content of a record.

    Attributes:
        provenance: settings, code and versions, as Parquet files carry them.
        files: name relative to the record's folder → SHA-256.
    """

    provenance: dict[str, Any]
    files: dict[str, str]


def record_beside(path: Path) -> Path:
    """The record of a job whose files differ in their suffix alone: ``a/b.svg`` has ``a/.b.json``."""
    return path.with_name(f".{path.stem}.json")


def digest_of(path: Path) -> str:
    """SHA-256 of a file, 64 hexadecimal digits."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _own_digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def write_record(path: Path, provenance: Mapping[str, Any], files: Iterable[Path]) -> None:
    """Write the record of ``files``, all below its folder. Equal files and provenance give equal bytes."""
    found = {file.relative_to(path.parent).as_posix(): digest_of(file) for file in files}
    content = {"provenance": dict(provenance), "files": found}
    with atomic_path(path) as temporary:
        temporary.write_text(
            json.dumps({**content, "digest": _own_digest(content)}, sort_keys=True, indent=1) + "\n", encoding="utf-8"
        )


def read_record(path: Path) -> Record:
    """Read a record.

    Raises:
        ArtifactError: it is missing, or not as it was written.
    """
    try:
        text = path.read_text(encoding="utf-8")
        content = dict(json.loads(text))
        digest = content.pop("digest")
        whole = json.dumps({**content, "digest": digest}, sort_keys=True, indent=1) + "\n"
        if digest == _own_digest(content) and whole == text:
            return Record(content["provenance"], content["files"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"'{path}' cannot be read ({error}); delete it and run again") from error
    raise ArtifactError(f"'{path}' was altered after it was written; delete it and run again")


def check_recorded(path: Path, record: Path) -> None:
    """Compare ``path`` with ``record`` where there is one that lists it.

    Raises:
        ArtifactError: the file or its record was altered.
    """
    if not (record.is_file() and path.is_file()):
        return
    expected = read_record(record).files.get(path.relative_to(record.parent).as_posix())
    if expected is not None and digest_of(path) != expected:
        raise ArtifactError(
            f"'{path}' was altered after it was written: its digest is not that in '{record}'; delete it and run again"
        )

"""One pass over a folder of results: every file that a job writes is read again and compared with its digest."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from vitfaith.artifacts.record import digest_of, read_record
from vitfaith.artifacts.seal import is_intact
from vitfaith.artifacts.store import PLACE, PROVENANCE_KEY, place_of
from vitfaith.errors import ArtifactError

Kind = Literal["altered", "missing", "stale", "mixed"]

FOLDERS = (
    "shard", "train", "attack", "denoise", "predictions", "attribute", "bank", "scores", "curves", "stability", "sanity",
    "certificates", "tables", "figures", "pages",
)  # fmt: skip
"""Folders below the results that jobs write. ``benchmarks`` holds times, which decide nothing."""


@dataclass(frozen=True)
class Finding:
    """Fault of one file.

    Attributes:
        kind: altered (not as it was written, or without a digest), missing, stale (of another specification or code than the
            study's), mixed (of another specification, code or versions than the files beside it).
        path: the file.
        reason: one clause.
    """

    kind: Kind
    path: Path
    reason: str


@dataclass
class Contents:
    """Contents of a folder of results.

    Attributes:
        files: files read.
        size: their bytes.
        findings: what is altered, or listed and missing.
        provenance: file or record → its provenance, for intact ones.
        listed: record → the files that it lists.
    """

    files: int = 0
    size: int = 0
    findings: list[Finding] = field(default_factory=list)
    provenance: dict[Path, dict[str, Any]] = field(default_factory=dict)
    listed: dict[Path, list[Path]] = field(default_factory=dict)


def read_contents(results: Path) -> Contents:
    """Read every file that jobs wrote below ``results``.

    Raises:
        ArtifactError: there is none.
    """
    contents = Contents()
    files = [path for name in FOLDERS for path in sorted((results / name).rglob("*")) if path.is_file()]
    records = [path for path in files if _is_record(path)]
    visible = [path for path in files if not any(part.startswith(".") for part in path.relative_to(results).parts)]
    if not visible and not records:
        raise ArtifactError(f"'{results}' holds no results; name the results folder of a run")
    digests: dict[Path, str] = {}
    for path in records:
        digests |= _read_record(path, contents)
    for path in visible:
        contents.files += 1
        contents.size += path.stat().st_size
        problem = _problem_of(path, digests.get(path), contents)
        if problem is not None:
            contents.findings.append(Finding("altered", path, problem))
    for path in digests:
        if not path.is_file():
            contents.findings.append(Finding("missing", path, "it was written, and its job's other files are there"))
    return contents


def _is_record(path: Path) -> bool:
    return path.name.startswith(".") and path.suffix == ".json"


def _read_record(path: Path, contents: Contents) -> Mapping[Path, str]:
    contents.files += 1
    contents.size += path.stat().st_size
    try:
        record = read_record(path)
    except ArtifactError:
        contents.findings.append(Finding("altered", path, "the record of a job's files is not as it was written"))
        return {}
    contents.provenance[path] = record.provenance
    found = {path.parent / name: digest for name, digest in record.files.items()}
    contents.listed[path] = list(found)
    return found


def _problem_of(path: Path, digest: str | None, contents: Contents) -> str | None:
    """Why ``path`` cannot be trusted, None where it can; notes the provenance of Parquet files."""
    if digest is not None and digest_of(path) != digest:
        return "its digest is not the recorded one"
    if path.suffix != ".parquet":
        return "no record has a digest of it" if digest is None else None
    intact = is_intact(path)
    if not intact:
        return "its digest does not match" if intact is False else "it has no digest"
    try:
        handle = pq.ParquetFile(path, page_checksum_verification=True)
        for _ in _batches(handle):
            pass
        text = (handle.schema_arrow.metadata or {}).get(PROVENANCE_KEY)
        if text is not None:
            facts = contents.provenance[path] = dict(json.loads(text))
            written_for = facts.get(PLACE, {})
            if written_for != place_of(path):
                return f"it was written as {'/'.join(map('='.join, written_for.items())) or 'a file of no condition'}"
    except (pa.ArrowException, OSError, ValueError) as error:
        return f"it cannot be read: {next(iter(str(error).splitlines()), '')}"
    return None


def _batches(handle: pq.ParquetFile) -> Iterator[pa.RecordBatch]:
    yield from handle.iter_batches(batch_size=256)

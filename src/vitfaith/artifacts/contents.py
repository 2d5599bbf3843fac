"""Digests of the contents of files that a study reads, remembered for as long as the files stay as they are.

A digest depends only on the contents: copying or touching files does not change it, changing one byte does. Name,
size and times only decide whether a file must be read again.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from platformdirs import user_cache_path

Known = dict[str, list[int | str]]
"""Absolute path → size, time of change, time of the inode's change (ns), inode, digest."""

_RACY_NS = 2_000_000_000
"""A file that is younger when it is read may change again without a new time, so its digest is not remembered."""


def contents_digest(paths: Sequence[Path]) -> str:
    """Digest of the contents of files and folders, in their order; names count below a folder, and nowhere else.

    Args:
        paths: files, or folders of which every visible file counts, however deep. What does not exist counts as empty.

    Returns:
        32 hexadecimal digits.
    """
    named = [(f"{number}/{name}", file) for number, path in enumerate(paths) for name, file in _files(path)]
    remembered = _memory(paths)
    known = _read(remembered)
    with ThreadPoolExecutor(min(8, 2 * (os.cpu_count() or 1))) as pool:
        entries = list(pool.map(lambda item: _entry(item[1], known), named))
    fresh = {str(file.absolute()): entry for (_, file), entry in zip(named, entries, strict=True) if _settled(entry)}
    if fresh != known:
        _write(remembered, fresh)
    whole = hashlib.blake2b(digest_size=16)
    for (name, _), entry in zip(named, entries, strict=True):
        whole.update(f"{name}\0{entry[-1]}\0".encode("utf-8", "surrogateescape"))
    return whole.hexdigest()


def _files(path: Path) -> Iterable[tuple[str, Path]]:
    """(name below ``path``, file) of a file or of all visible files of a folder, sorted; links to folders are not followed."""
    if path.is_file():
        return [("", path)]
    found = []
    for folder, folders, names in os.walk(path):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(folder, name) for name in names if not name.startswith(".")]
    return sorted((file.relative_to(path).as_posix(), file) for file in found if file.is_file())


def _entry(file: Path, known: Known) -> list[int | str]:
    status = file.stat()
    key = [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
    before = known.get(str(file.absolute()))
    if before is not None and before[:-1] == key:
        return before
    with file.open("rb") as handle:
        return [*key, hashlib.file_digest(handle, lambda: hashlib.blake2b(digest_size=16)).hexdigest()]


def _settled(entry: list[int | str]) -> bool:
    return time.time_ns() - max(int(entry[1]), int(entry[2])) > _RACY_NS


def _memory(paths: Sequence[Path]) -> Path:
    """Where the digests of these paths are remembered."""
    name = "\0".join(str(path.absolute()) for path in paths).encode("utf-8", "surrogateescape")
    return user_cache_path("vitfaith") / "contents" / f"{hashlib.blake2b(name, digest_size=16).hexdigest()}.json"


def _read(memory: Path) -> Known:
    try:
        return dict(json.loads(memory.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


def _write(memory: Path, known: Known) -> None:
    """Remember; where that is not possible every digest is computed again the next time."""
    temporary = memory.with_name(f"{memory.name}.{os.getpid()}")
    try:
        memory.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(known), encoding="utf-8")
        temporary.replace(memory)
    except (OSError, UnicodeEncodeError):
        with suppress(OSError):
            temporary.unlink(missing_ok=True)

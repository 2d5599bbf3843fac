"""The digest of a whole Parquet file, kept in its own footer: any altered bit shows, and the file stays one that all readers read.

The footer holds the key ``vitfaith.seal`` with 64 hexadecimal digits: SHA-256 of the file with zeros in their place.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import IO

from vitfaith.errors import ArtifactError

KEY = "vitfaith.seal"
EMPTY = "0" * 64
"""Placeholder in the footer until the digest is known."""

_MARK = KEY.encode() + b"\x18\x40"  # in Thrift's compact protocol: the next field, a string of 64 bytes
_MAGIC = b"PAR1"
_CHUNK = 2**20


def seal(path: Path) -> None:
    """Put the digest of the Parquet file ``path``, which was written with :data:`EMPTY` under :data:`KEY`, into its footer.

    Raises:
        ArtifactError: the footer has no place for it, or several.
    """
    with path.open("r+b") as handle:
        place = _place(handle)
        if place is None:
            raise ArtifactError(f"'{path}': the footer has no single key '{KEY}'; no image or method may be called so")
        digest = _digest(handle, place)
        handle.seek(place)
        handle.write(digest)


def is_intact(path: Path) -> bool | None:
    """Whether ``path`` is as it was written, bit by bit; None where it has no seal (or an altered bit hides it)."""
    with path.open("rb") as handle:
        place = _place(handle)
        if place is None:
            return None
        handle.seek(place)
        return handle.read(len(EMPTY)) == _digest(handle, place)


def _place(handle: IO[bytes]) -> int | None:
    """Where the digits of the seal begin, None where there is none or the file is no Parquet file."""
    size = handle.seek(0, 2)
    if size < 12:
        return None
    handle.seek(size - 8)
    end = handle.read(8)
    length = int.from_bytes(end[:4], "little")
    if end[4:] != _MAGIC or length > size - 12:
        return None
    handle.seek(size - 8 - length)
    footer = handle.read(length)
    at = footer.find(_MARK)
    if at < 0 or footer.find(_MARK, at + 1) >= 0 or at + len(_MARK) + len(EMPTY) > length:
        return None
    return size - 8 - length + at + len(_MARK)


def _digest(handle: IO[bytes], place: int) -> bytes:
    digest = hashlib.sha256()
    handle.seek(0)
    left = place
    while left:
        chunk = handle.read(min(left, _CHUNK))
        digest.update(chunk)
        left -= len(chunk)
    digest.update(EMPTY.encode())
    handle.seek(place + len(EMPTY))
    while chunk := handle.read(_CHUNK):
        digest.update(chunk)
    return digest.hexdigest().encode()

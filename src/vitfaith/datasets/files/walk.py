"""The pictures below a folder, each once, whatever links there are."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from vitfaith.errors import ArtifactError

EXTENSIONS = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
"""Endings of file names that count as pictures, in any case."""


def walk_pictures(folder: Path) -> list[str]:
    """Sorted paths of the pictures below ``folder``, relative, with slashes; hidden files are passed over.

    Links are followed, and each real file counts once: a link to a folder or picture that is found without the link,
    or by an earlier link, adds nothing. So a link to a folder above does not go round in circles.

    Raises:
        ArtifactError: a picture is a pipe or a device, or a link to nothing; a folder may not be read.
    """
    found: dict[str, str] = {}
    links: list[tuple[str, str]] = []
    entered: set[str] = set()
    pending = [(os.path.realpath(folder), "")]
    while pending or links:
        # links last, so a picture is named after its real folder if that is inside
        linked = not pending
        real, base = links.pop() if linked else pending.pop()
        if linked and not Path(real).is_dir():
            found.setdefault(real, base)
            continue
        if real in entered:
            continue
        entered.add(real)
        folders, files, more = _listed(real, base, folder)
        pending += folders
        links = sorted(links + more, reverse=True)
        found |= files
    return sorted(found.values())


def _listed(real: str, base: str, root: Path) -> tuple[list[tuple[str, str]], dict[str, str], list[tuple[str, str]]]:
    """Contents of a folder: (real path, name) of its folders, of its pictures, and of links to either."""
    folders, files, links = [], {}, []
    for entry in _entries(real):
        name = f"{base}/{entry.name}" if base else entry.name
        is_folder = entry.is_dir()
        if not is_folder and not entry.name.lower().endswith(EXTENSIONS):
            continue
        if not is_folder and not entry.is_file():
            raise ArtifactError(f"picture '{root / name}' is a pipe, a device, or a link to nothing; remove it")
        if entry.is_symlink():
            links.append((os.path.realpath(entry.path), name))
        elif is_folder:
            folders.append((entry.path, name))
        else:
            files[entry.path] = name
    return folders, files, links


def _entries(folder: str) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            yield from (entry for entry in entries if not entry.name.startswith("."))
    except OSError as error:
        raise ArtifactError(f"folder '{folder}' cannot be read ({error.strerror}); let this user read it") from error

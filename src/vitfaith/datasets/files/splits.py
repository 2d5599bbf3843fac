"""Which split of a dataset a file belongs to, by the names that splits go by."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from vitfaith.errors import ArtifactError, did_you_mean

SPLITS: Mapping[str, frozenset[str]] = {
    "train": frozenset({"train", "training"}),
    "validation": frozenset({"validation", "valid", "val", "dev"}),
    "test": frozenset({"test", "testing", "eval", "evaluation"}),
}
"""Split → words for it in names of files and folders (as in Hugging Face's datasets library)."""

_NUMBERED = re.compile(r"(\w[\w.]*)-\d{5}-of-\d{5}")


def split_named(word: str) -> str | None:
    """The split that ``word`` is a name of, None where it names none."""
    return next((split for split, words in SPLITS.items() if word.lower() in words), None)


def split_of(file: Path, root: Path) -> str | None:
    """The split of ``file``, from its name or else from the folders below ``root``; None if neither names a split.

    ``NAME-00000-of-00002.parquet`` belongs to split NAME, whatever the name; elsewhere the words of :data:`SPLITS` count,
    set off by ``-``, ``_``, ``.`` or a space.
    """
    numbered = _NUMBERED.match(file.name)
    if numbered is not None:
        return split_named(numbered[1]) or numbered[1]
    for part in (file.stem, *reversed(_folders(file, root))):
        for word in re.split(r"[-_. ]+", part):
            if (split := split_named(word)) is not None:
                return split
    return None


def _folders(file: Path, root: Path) -> Sequence[str]:
    return file.parent.relative_to(root).parts if file.is_relative_to(root) else ()


def of_split(files: Sequence[Path], root: Path, split: str | None, where: str) -> list[Path]:
    """The files of ``split`` (several: ``train+test``); all of them without it, when they are of one split.

    Raises:
        ArtifactError: there is no file of the split, or without ``split`` there are several; the text names them.
    """
    found: dict[str, list[Path]] = {}
    for file in files:
        found.setdefault(split_of(file, root) or "", []).append(file)
    known = [name for name in found if name]
    if split is None:
        if len(known) > 1:
            example = ", ".join(f"{name} ('{found[name][0].name}')" for name in known)
            raise ArtifactError(f"{where} holds files of several splits: {example}; set split: {known[0]}, or another")
        return list(files)
    wanted = [split_named(name) or name for name in split.split("+")]
    for name in wanted:
        if name not in known:
            told = ", ".join(known) or "none in names of files or folders"
            raise ArtifactError(f"{where} has no file of split '{name}'{did_you_mean(name, known)}; it has: {told}")
    return [file for file in files if split_of(file, root) in wanted]

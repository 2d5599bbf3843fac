"""How many stumbles each file still has, and how many it may have: the counts of ``allowed.txt``, which only fall.

python -m tests.words.ratchet           list every stumble with its line
python -m tests.words.ratchet --lower   write the counts of files that have improved
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.words.phrases import PHRASES
from tests.words.prose import files, prose

ALLOWED = Path(__file__).with_name("allowed.txt")


class Stumble(NamedTuple):
    """A phrase that a file has."""

    line: int
    words: str
    instead: str


def stumbles_in(text: str, line: int = 1) -> Iterator[Stumble]:
    """All phrases in one piece of text; words that two of them match count once."""
    flat = re.sub(r"\s+", " ", text).strip()
    small, end = flat.lower(), 0
    matches = [(match.span(), phrase.instead) for phrase in PHRASES for match in phrase.regex.finditer(small)]
    for (start, stop), instead in sorted(matches):
        if start >= end:
            yield Stumble(line, flat[max(0, start - 30) : stop + 30], instead)
            end = stop


def stumbles(path: Path) -> list[Stumble]:
    """All phrases in a file, in the order of its lines."""
    return sorted(found for line, text in prose(path) for found in stumbles_in(text, line))


def allowed() -> dict[str, int]:
    """File → how many phrases it may have; a file without a line may have none."""
    pairs = (line.split() for line in ALLOWED.read_text(encoding="utf-8").splitlines())
    return {path: int(count) for count, path in pairs}


def counts() -> dict[str, int]:
    """File → how many phrases it has, of the files that have any."""
    found = {path.as_posix(): len(stumbles(path)) for path in files()}
    return {path: count for path, count in found.items() if count}


def lower(limits: dict[str, int], found: dict[str, int]) -> dict[str, int]:
    """The limits after progress: no file gets a larger one."""
    return {path: min(limit, found[path]) for path, limit in sorted(limits.items()) if path in found}


def main() -> None:
    """List the stumbles, or lower the limits."""
    if "--lower" in sys.argv:
        lines = [f"{count} {path}" for path, count in lower(allowed(), counts()).items()]
        ALLOWED.write_text("\n".join([*lines, ""]), encoding="utf-8")
        return
    for path in files():
        for line, words, instead in stumbles(path):
            print(f"{path}:{line}: …{words}… → {instead}")


if __name__ == "__main__":
    main()

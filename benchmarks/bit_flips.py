"""How many single-bit flips in results stay silent: in a plain read, in a read by this library, and in `vitfaith verify`.

    uv run python benchmarks/bit_flips.py results --flips 5000

Works on a copy of a few files of each stage; half of the flips hit the last kilobyte of a file, where Parquet keeps its footer. A read
is silent where it gives other rows, columns or provenance than before without an error; `verify` is silent where it reports
nothing, whatever the bit decides. The plain read is of the same tables written without checksums and digest.
"""

from __future__ import annotations

import argparse
import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from vitfaith.artifacts.store import open_any, read_any
from vitfaith.errors import ArtifactError
from vitfaith.verify.files import FOLDERS, read_contents

FOOTER = 1024
"""Bytes at the end of a file that half of the flips hit."""


def copy_some(results: Path, out: Path) -> None:
    """The first Parquet file of each stage, and all tables, figures, pages and trained networks."""
    for name in FOLDERS:
        files = sorted(p for p in (results / name).rglob("*") if p.is_file())
        if name not in ("tables", "figures", "pages", "train"):
            files = [p for p in files if not p.name.startswith(".")][:1]
        for path in files:
            target = out / path.relative_to(results)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)


def flipped(content: bytes, draw: random.Random) -> bytes:
    """``content`` with one bit changed."""
    start = max(0, len(content) - FOOTER) if draw.random() < 0.5 else 0
    place = draw.randrange(start, len(content))
    return content[:place] + bytes([content[place] ^ 1 << draw.randrange(8)]) + content[place + 1 :]


def is_silent(path: Path, opened: Callable[[Path], pq.ParquetFile], expected: tuple[pa.Table, pa.Schema]) -> bool:
    """Whether a read gives other rows, columns or provenance than ``expected``, and no error."""
    try:
        handle = opened(path)
        table, schema = expected
        return not (handle.read().equals(table) and handle.schema_arrow.equals(schema, check_metadata=True))
    except (ArtifactError, pa.ArrowException, OSError, ValueError, MemoryError):
        return False


def count(results: Path, flips: int, seed: int, *, verified: bool = True) -> Counter[str]:
    """Flips tried and silent, by way of reading; ``verified`` counts those of ``vitfaith verify`` too, which takes longest."""
    found: Counter[str] = Counter()
    draw = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        out, bare = Path(folder, "results"), Path(folder, "bare.parquet")
        copy_some(results, out)
        if read_contents(out).findings:
            raise SystemExit(f"'{results}' is not sound already: vitfaith verify {results}")
        files = sorted(p for p in out.rglob("*") if p.is_file())
        unchecked = {}
        for path in files:
            if path.suffix == ".parquet":
                pq.write_table(read_any(path), bare, compression="zstd")
                unchecked[path] = bare.read_bytes(), (read_any(path), open_any(path).schema_arrow)
        for _ in range(flips):
            path = draw.choice(files)
            whole = path.read_bytes()
            path.write_bytes(flipped(whole, draw))
            if verified:
                found["verify tried"] += 1
                found["verify silent"] += not any(f.path == path for f in read_contents(out).findings)
            if path in unchecked:
                content, expected = unchecked[path]
                found["reads tried"] += 1
                found["silent, this library"] += is_silent(path, open_any, expected)
                bare.write_bytes(flipped(content, draw))
                found["silent, no checks"] += is_silent(bare, pq.ParquetFile, expected)
            path.write_bytes(whole)
    return found


def main() -> None:
    """Print the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path)
    parser.add_argument("--flips", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--reads-only", action="store_true", help="leave vitfaith verify out")
    given = parser.parse_args()
    start = time.monotonic()
    for name, number in count(given.results, given.flips, given.seed, verified=not given.reads_only).items():
        print(f"{name}: {number}")
    print(f"{time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main()

"""Peak memory of one shard job for datasets of 1,000 and 50,000 pictures: `uv run python benchmarks/shard_memory.py`.

ImageNet's layout, every picture a link to one JPEG of 500 × 375 pixels; the job reads 64 of them. Prints the peak resident memory and
seconds of each, and their ratios.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from vitfaith.study.load import instance

SHARD = 64


def build(folder: Path, each: int) -> None:
    """1,000 class folders with ``each`` pictures."""
    picture = folder / "picture.jpg"
    pixels = np.random.default_rng(0).integers(0, 256, (375, 500, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(picture, quality=90)
    for label in range(1000):
        place = folder / "val" / f"n{label:08d}"
        place.mkdir(parents=True)
        for number in range(label * each, (label + 1) * each):
            (place / f"ILSVRC2012_val_{number + 1:08d}.JPEG").hardlink_to(picture)


def peak(folder: Path, images: int) -> tuple[float, float]:
    """(MiB, seconds) of the job on the last shard."""
    settings = {"path": str(folder / "val"), "preprocessing": "chefer_resize", "size": 224}
    spec = {
        "reader": instance("datasets", "d", {"reader": "imagenet", **settings}).spec(),
        "seed": 0,
        "images": images,
        "shard_size": SHARD,
        "shard": f"shard-{-(-images // SHARD) - 2:03d}",
    }
    command = [
        sys.executable,
        "-m",
        "vitfaith",
        "shard",
        "--spec",
        json.dumps(spec),
        "--out",
        str(folder / "o.parquet"),
    ]
    start = time.perf_counter()
    child = os.posix_spawn(sys.executable, command, os.environ)
    _, status, used = os.wait4(child, 0)
    if status:
        sys.exit(f"the job ended with {status}")
    return used.ru_maxrss / 1024, time.perf_counter() - start


def main() -> None:
    """Measure both."""
    found = {}
    for each in (1, 50):
        with tempfile.TemporaryDirectory() as name:
            build(Path(name), each)
            found[each] = peak(Path(name), 1000 * each)
        print(f"{1000 * each:>6,} images: {found[each][0]:.0f} MiB, {found[each][1]:.1f} s")
    print(f"ratios: memory {found[50][0] / found[1][0]:.2f}, time {found[50][1] / found[1][1]:.1f}")


if __name__ == "__main__":
    main()

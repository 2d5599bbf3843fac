"""Tables, figures and page of studies with more and more images: `uv run python -m benchmarks.tables_at_size [IMAGES …]`.

Writes synthetic results of three conditions and 15 methods on 1,000 classes, then runs every job in a process of its own on one
thread, and prints its CPU seconds and peak resident memory. 50,000 images take 24 GB of disk, which are given back: 22.6 GB are pixels
of the images and of two attacks, as real results need them too. Maps take less than real ones, since they repeat. The results of the
largest size serve all: a smaller study has its first shards.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from benchmarks.synthetic_results import Size, study, write_results

from vitfaith.study.specs import figures_spec, page_spec, tables_spec

EXPERIMENT = "imagenet"
FIGURES = (
    *("saco_leaderboard", "saco_by_condition", "beats_random", "metric_agreement", "accuracy_by_condition"),
    *("perturbation_curves", "critical_difference", "gallery", "saco_pairs"),
)
SCRATCH = Path(__file__).resolve().parent / "results"
"""On the disk of the clone, where git ignores what a stopped run leaves."""
DEFAULT = (250, 1000, 4000, 16000, 50000)


def used(command: list[str]) -> tuple[float, float]:
    """(CPU seconds, peak MB) of a verb of the package."""
    child = os.posix_spawn(
        sys.executable, [sys.executable, "-m", "vitfaith", *command], {**os.environ, "OMP_NUM_THREADS": "1"}
    )
    _, status, spent = os.wait4(child, 0)
    if status:
        sys.exit(f"'{' '.join(command[:1])}' ended with {status}")
    return spent.ru_utime + spent.ru_stime, spent.ru_maxrss / 1024


def written(images: int, place: Path) -> dict[str, Any]:
    """Write the results and give the specifications of their jobs.

    In a process of its own: the peak memory of a job is at least the peak of the process that starts it.
    """
    config = study(images, min(images, 1000), figures=list(FIGURES))
    config["figures"] |= {name: {} for name in FIGURES}
    plan = write_results(config, place, Size())
    specs: dict[str, Any] = {"tables": tables_spec(plan, EXPERIMENT), "page": page_spec(plan, EXPERIMENT)}
    specs["figures"] = {figure: figures_spec(plan, EXPERIMENT, figure) for figure in FIGURES}
    return specs


def jobs(specs: dict[str, Any], folder: Path, images: int) -> dict[str, list[str]]:
    """Name → command of the jobs of a study of the first ``images``."""
    shards = min(specs["tables"]["shards"][EXPERIMENT], -(-images // 1000))
    tables = folder / "results" / "tables" / f"{images}"
    spec = specs["tables"] | {"shards": {EXPERIMENT: shards}}
    found = {"tables": ["tables", "--spec", json.dumps(spec), "--code", "", "--out", str(tables)]}
    for name, told in {**specs["figures"], "page": specs["page"]}.items():
        verb, out = ("page", "page.html") if name == "page" else ("figures", name)
        end = ["--tables", str(tables), "--out", str(tables / out)]
        found[name] = [verb, "--spec", json.dumps(told), "--code", "", *end]
    return found


def main() -> None:
    """Write, run, print."""
    sizes = sorted(map(int, sys.argv[1:])) or list(DEFAULT)
    print("| images | job | CPU s | peak MB |\n|---|---|---|---|")
    SCRATCH.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=SCRATCH) as name:
        folder = Path(name)
        whole = [size for size in sizes if size % 1000 == 0]
        for group in [[size] for size in sizes if size % 1000] + ([whole] if whole else []):
            place = folder / str(group[-1])
            with ProcessPoolExecutor(1, get_context("spawn")) as pool:
                specs = pool.submit(written, group[-1], place).result()
            os.chdir(place)
            for images in group:
                for job, command in jobs(specs, place, images).items():
                    seconds, megabytes = used(command)
                    print(f"| {images:,} | {job} | {seconds:.1f} | {megabytes:.0f} |", flush=True)


if __name__ == "__main__":
    main()

"""How a page of findings was made, in one line, and what changed against an earlier version: printed by every tool of tools/pages.yaml."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow.parquet as pq
import yaml

from vitfaith.artifacts.store import read_provenance
from vitfaith.compare.pages import MADE
from vitfaith.compare.reproduced import Page, read_pages, study_text
from vitfaith.study.sections import StatisticsSection

ROOT = Path(__file__).resolve().parents[1]
MOST_LISTED = 3
"""Numbers of images that are listed; of more, the line has the smallest and the largest."""


def made(
    name: str,
    results: Path | Sequence[Path],
    experiments: Sequence[str] | None = None,
    intervals: str | None = None,
    count: str | None = None,
) -> str:
    """The line of a page from the results of a run: command, study seed, n, intervals; time of one core, and processor.

    Args:
        name: of the page in ``tools/pages.yaml``.
        results: folder of the results, or several whose images are pooled.
        experiments: whose images count; default: all.
        intervals: what the intervals are; default: the bootstrap intervals of the page's study.
        count: where n is told; default: the number of images is told here.

    Raises:
        FileNotFoundError: the run has no scores, or not these experiments.
    """
    folders = [results] if isinstance(results, Path) else list(results)
    seeds = sorted({seed_of(folder) for folder in folders})
    facts = [
        f"study seed {' and '.join(map(str, seeds))}",
        count or images_text(images(folders, experiments)),
        intervals or bootstrap(read_pages(ROOT)[name]),
    ]
    return line(name, facts, sum(map(core_seconds, folders)) + time.process_time())


def line(name: str, facts: Sequence[str], seconds: float) -> str:
    """The line itself; ``seconds`` of one core and the processor are its end, which is not compared between two pages."""
    sys.path.append(str(ROOT))  # a tool runs in the folder of its results
    from benchmarks.machine import processor_name

    return f"{_maker(name)}: {', '.join(facts)}; {duration(seconds)} on {processor_name()}."


def measured(name: str, seed: int, count: int, intervals: str) -> str:
    """The line of a page that one process measured, without a run of the workflow: study seed, n, intervals, its own time."""
    return line(name, [f"study seed {seed}", images_text([count]), intervals], time.process_time())


def _maker(name: str) -> str:
    page = read_pages(ROOT).get(name)
    if page is None:
        return f"Made by `python tools/{Path(sys.argv[0]).name}`"
    steps = [str(page.study)] if page.study else []
    return f"{MADE} {name}` ({', '.join(f'`{step}`' for step in [*steps, page.command[0]])})"


def changed(name: str) -> str:
    """The last section of a page, with an empty line before it; empty where nothing is said to have changed."""
    page = read_pages(ROOT).get(name)
    return f"\n## What changed\n\n{page.changed.strip()}\n" if page is not None and page.changed else ""


def core_seconds(results: Path) -> float:
    """Seconds of all jobs whose results are in the folder, also of those that an earlier run made; a job has one core.

    Snakemake also writes the CPU time of a job, but only as of its last sample, up to 30 seconds before the job ends.
    """
    return sum(_job_seconds(results / "benchmarks"))


def keep_seconds(results: Path, job: str, seconds: float) -> None:
    """Keep the seconds of a training that a tool ran itself, where :func:`core_seconds` finds them."""
    file = results / "benchmarks" / f"{job}.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"s": seconds}), encoding="utf-8")


def _job_seconds(benchmarks: Path) -> Iterator[float]:
    for file in sorted(benchmarks.rglob("*.jsonl")):
        for text in file.read_text(encoding="utf-8").splitlines():
            yield float(json.loads(text)["s"])


def duration(seconds: float) -> str:
    """Time of one core in the unit that suits it."""
    for size, unit in ((3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} core {unit}" if seconds < 10 * size else f"{seconds / size:.0f} core {unit}"
    return f"{seconds:.0f} core seconds"


def seed_of(results: Path) -> int:
    """The study seed of a run, which every file of scores keeps.

    Raises:
        FileNotFoundError: there are no scores.
    """
    file = next((results / "scores").rglob("*.parquet"), None)
    if file is None:
        raise FileNotFoundError(f"'{results}' has no scores; run the study first")
    return int(read_provenance(file)["spec"]["seed"])


def images(folders: Sequence[Path], experiments: Sequence[str] | None = None) -> list[int]:
    """Different numbers of scored images of the experiments, ascending; each is summed over the folders."""
    counts: dict[str, int] = {}
    for folder in folders:
        for table in sorted((folder / "tables").glob("experiment=*/scores.parquet")):
            experiment = table.parent.name.removeprefix("experiment=")
            if experiments is None or experiment in experiments:
                found = pq.read_table(table, columns=["image_id"])["image_id"]
                counts[experiment] = counts.get(experiment, 0) + len(found.unique())
    missing = set(experiments or ()) - set(counts)
    if missing or not counts:
        raise FileNotFoundError(f"no tables of {', '.join(sorted(missing)) or 'any experiment'}; run the study first")
    return sorted(set(counts.values()))


def images_text(counts: Sequence[int]) -> str:
    """Numbers of images as words: ``n = 32 and 64 images``."""
    shown = [counts[0], counts[-1]] if len(counts) > MOST_LISTED else list(counts)
    words = " to ".join(map(str, shown)) if len(counts) > MOST_LISTED else " and ".join(map(str, shown))
    return f"n = {words} image{'s' if counts[-1] > 1 else ''}"


def bootstrap(page: Page) -> str:
    """What the intervals of the tables of a page's study are."""
    given = yaml.safe_load(study_text(page, ROOT)).get("statistics", {})
    statistics = StatisticsSection.model_validate(given)
    level = f"{100 * statistics.confidence:g} % intervals"
    return f"{level} from {statistics.resamples:,} bootstrap resamples of the images"

"""A disk that fills up while a job writes: one line says so, what was finished stays, and room heals it."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.crash.faults import Fault, no_file_above, no_space_from_step, nothing
from tests.crash.study import Job, Process, Study
from tests.crash.trials import ends_well, kind, last_line, without_outputs

PAGE = 4096


@kind(weight=3)
def no_space(study: Study, folder: Path, rng: random.Random) -> str:
    """Nothing can be created from a random step on, or no file can grow beyond a random size."""
    job = without_outputs(study, folder, rng)
    largest = max(len(study.reference[name]) for name in job.outputs)
    fault = no_space_from_step(rng.randint(1, study.steps[job])) if rng.random() < 0.6 else None
    return _full(study, job, folder, fault or no_file_above(rng.randint(1, largest))) or ends_well(study, job, folder)


@kind(weight=3)
def small_disk(study: Study, folder: Path, rng: random.Random) -> str:
    """The results lie on a file system of their own with less room than the job needs; as root, else as ``no_space``."""
    if os.geteuid() != 0:
        return no_space(study, folder, rng)
    job = without_outputs(study, folder, rng)
    wanted = sum(-(-len(study.reference[name]) // PAGE) + 1 for name in job.outputs)
    with _disk_of(folder / "results", rng.randint(0, wanted)) as grow:
        wrong = _full(study, job, folder, nothing)
        grow()
        return wrong or ends_well(study, job, folder)


def _full(study: Study, job: Job, folder: Path, fault: Fault) -> str:
    """What is wrong with how ``job`` ends on the full disk; that it ends well is right too."""
    process = Process(job, folder, folder / "full.log", fault)
    code, text = process.wait(), process.text()
    line = last_line(process)
    if code not in (0, 1):
        return f"{job.stage} ended with {code} on a full disk: {line}"
    if code == 1 and ("Traceback" in text or not line.startswith("error: no space left")):
        return f"{job.stage} does not say in one line that the disk is full: {line}"
    torn = [n for n, content in study.contents(folder).items() if content != study.reference.get(n)]
    return f"{job.stage} tore {torn[0]}" if torn else ""


@contextmanager
def _disk_of(folder: Path, pages: int) -> Iterator[object]:
    """Make ``folder`` a file system with its files and ``pages`` of free room; yields a function that makes room."""
    aside = folder.with_name("aside")
    folder.rename(aside)
    folder.mkdir()
    _mount(folder, "size=1g")
    try:
        shutil.copytree(aside, folder, dirs_exist_ok=True)
        used = os.statvfs(folder)
        taken = (used.f_blocks - used.f_bfree) * used.f_frsize
        _mount(folder, f"remount,size={taken + pages * PAGE}")
        yield lambda: _mount(folder, "remount,size=1g")
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def _mount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True)

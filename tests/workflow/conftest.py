"""A copy of the workflow in which the tiny study has been run once; tests change it and ask what would run."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Workflow:
    """A working copy and how to call Snakemake in it."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """Variables under which ``python`` is this one and ``vitfaith`` the copy's."""
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        return {**os.environ, "PATH": path, "PYTHONPATH": str(self.folder / "src"), "OMP_NUM_THREADS": "1"}

    def snakemake(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run Snakemake on the copy's tiny study with the copy's library."""
        command = [sys.executable, "-m", "snakemake", "--cores", "2", "--configfile", "config/tiny.yaml", *arguments]
        done = subprocess.run(command, cwd=self.folder, env=self.environment, capture_output=True, text=True)
        if check and done.returncode:
            raise AssertionError(done.stdout + done.stderr)
        return done

    def planned(self, *arguments: str) -> Counter[str]:
        """Rule → number of jobs that a dry run lists (targets left out)."""
        text = self.snakemake("-n", "--quiet", "rules", *arguments).stdout
        table = re.search(r"Job stats:\njob +count\n[- ]+\n(.*?)\n\n", text + "\n\n", re.DOTALL)
        if table is None:
            return Counter()
        rows = (line.split() for line in table.group(1).splitlines() if line.strip())
        return Counter({name: int(count) for name, count in rows if name not in ("total", "all")})

    @property
    def config(self) -> dict[str, Any]:
        """The tiny study's configuration."""
        return dict(yaml.safe_load((self.folder / "config" / "tiny.yaml").read_text()))

    def write_config(self, config: dict[str, Any]) -> None:
        """Replace the tiny study's configuration."""
        (self.folder / "config" / "tiny.yaml").write_text(yaml.safe_dump(config, sort_keys=False))


def copy_of_the_workflow(folder: Path) -> Workflow:
    """The files a run needs, in ``folder``."""
    for name in ("rules", "workflow", "config", "envs", "src"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "Snakefile", folder)
    (folder / "profiles").symlink_to("workflow/profiles")
    (folder / "resources").symlink_to(ROOT / "resources")
    return Workflow(folder)


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A folder that all workers of this run share: the first one that asks makes it, the others wait. Do not change it.

    Args:
        factory: pytest's.
        name: of the folder, unique among all tests.
        make: makes the folder at the path it gets. Where it fails, the next worker that asks tries again.
    """
    base = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent  # each worker has a folder in that of the run
    folder, made = base / name, base / f"{name}.made"
    with (base / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            shutil.rmtree(folder, ignore_errors=True)
            make(folder)
            made.touch()
    return folder


@pytest.fixture(scope="session")
def finished_study(tmp_path_factory: pytest.TempPathFactory) -> Workflow:
    """The tiny study, run to its end once; do not change it."""
    return Workflow(
        made_once(tmp_path_factory, "finished_study", lambda folder: copy_of_the_workflow(folder).snakemake())
    )


def private_copy(workflow: Workflow, folder: Path) -> Workflow:
    """A copy of a run in ``folder``, with times and bookkeeping kept."""
    shutil.copytree(workflow.folder, folder / "repository", symlinks=True)
    return Workflow(folder / "repository")


@pytest.fixture
def study(finished_study: Workflow, tmp_path: Path) -> Workflow:
    """A private copy of the finished study."""
    return private_copy(finished_study, tmp_path)

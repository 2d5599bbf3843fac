"""The built wheel in an empty environment and an empty folder: the same jobs, and byte for byte the same results."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.workflow.conftest import ROOT, Workflow, made_once
from tests.workflow.environments import environment_with, python_of, uv

LARGEST = 30_000_000
"""Bytes of the wheel."""

JOBS = """
import sys
from vitfaith.shipped import named
from vitfaith.study import identity, inputs
from vitfaith.study.jobs import jobs
from vitfaith.study.load import load_study, read_yaml
from vitfaith.study.plan import Plan
from vitfaith.artifacts.store import partition_values
from pathlib import Path

plan = Plan(load_study(read_yaml(Path(sys.argv[1]))))
for job in jobs(plan):
    if job.stage in ("tables", "figures", "page"):
        names = ("experiment", "figure")
        wildcards = dict(zip(names, job.place.split("/")))
    else:
        wildcards = partition_values(job.outputs[0]) | {"shard": job.outputs[0].stem}
        if job.stage == "attack":
            wildcards.pop("smoothing", None)
    print(identity.spec_of(plan, job.stage, wildcards), identity.code_of(plan, job.stage, wildcards))
    if job.stage not in ("shard", "tables", "figures", "page"):
        print([(read.option, named(read.path)) for read in inputs.reads(plan, job.stage, wildcards)])
"""
"""Prints what Snakemake compares of every job of a study."""


@dataclass
class Installed:
    """An environment with the wheel and what it asks for, and nothing else."""

    wheel: Path
    python: Path

    def call(self, *arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
        """Run a program of the environment, which is not on the PATH."""
        kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
        command = [str(self.python.parent / arguments[0]), *arguments[1:]]
        environment = {**kept, "OMP_NUM_THREADS": "1"}
        return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The wheel is built, and installed with the pinned versions of what its extra ``workflow`` asks for."""

    def make(folder: Path) -> None:
        folder.mkdir()
        uv("build", "--quiet", "--wheel", "--out-dir", folder, ROOT)
        (wheel,) = folder.glob("*.whl")
        environment_with(folder, f"{wheel}[workflow]")

    folder = made_once(tmp_path_factory, "wheel", make)
    (wheel,) = folder.glob("*.whl")
    return Installed(wheel, python_of(folder))


def test_the_wheel_is_small_and_whole(installed: Installed) -> None:
    assert installed.wheel.stat().st_size < LARGEST
    with zipfile.ZipFile(installed.wheel) as archive:
        held = {name.removeprefix("vitfaith/_workflow/") for name in archive.namelist() if "/_workflow/" in name}
    folders = ("rules", "workflow", "envs", "config", "resources")
    listed = subprocess.run(["git", "ls-files", "Snakefile", *folders], cwd=ROOT, capture_output=True, text=True)
    assert set(listed.stdout.split()) <= held


def test_the_default_study_is_planned_in_an_empty_folder(installed: Installed, tmp_path: Path) -> None:
    assert re.fullmatch(r"vitfaith \d+\.\d+\.\d+\n", installed.call("vitfaith", "--version", folder=tmp_path).stdout)
    done = installed.call("vitfaith", "run", "--default", "-n", "--quiet", "rules", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^figures +16$", done.stdout, re.MULTILINE)
    assert "_workflow/workflow/profiles/default" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == [".snakemake"]
    shown = installed.call("vitfaith", "status", folder=tmp_path).stdout
    assert re.search(r"figures +16 +0 +0 +0 +0 +16", shown), shown


@pytest.mark.parametrize("study", ["config.yaml", "tiny.yaml", "fills.yaml"])
def test_no_job_tells_where_the_package_lies(study: str, installed: Installed, tmp_path: Path) -> None:
    told = installed.call("python", "-c", JOBS, str(ROOT / "config" / study), folder=tmp_path)
    here = [sys.executable, "-c", JOBS, f"config/{study}"]
    assert told.stdout, told.stderr
    assert told.stdout == subprocess.run(here, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "vitfaith:models/" in told.stdout
    assert str(ROOT) not in told.stdout
    assert str(tmp_path) not in told.stdout


def test_results_are_those_of_the_clone(installed: Installed, finished_study: Workflow, tmp_path: Path) -> None:
    scores = "scores/dataset=tiny/model=vit_patch4/attack=clean/smoothing=none/explained=clean_prediction/family=one_pass/shard-000.parquet"
    (tmp_path / "study.yaml").write_text((ROOT / "config" / "tiny.yaml").read_text())
    (tmp_path / "elsewhere").mkdir()
    given = ["../study.yaml", "--cores", "2", "--", f"results/{scores}"]
    done = installed.call("vitfaith", "run", *given, folder=tmp_path / "elsewhere")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "results" / scores).read_bytes() == (finished_study.folder / "results" / scores).read_bytes()
    again = installed.call("vitfaith", "run", *given, folder=tmp_path / "elsewhere")
    assert "Nothing to be done" in again.stderr

"""The workflow in a folder of its own: as a module of another Snakefile, and as snakedeploy lays it out."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.workflow.conftest import ROOT, made_once
from tests.workflow.environments import environment_with, python_of

MODULE = """
module vitfaith:
    snakefile: "{snakefile}"
    config: config

use rule * from vitfaith
"""


@pytest.fixture(scope="session")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python with Snakemake and what it asks for, and nothing else."""

    def make(folder: Path) -> None:
        folder.mkdir()
        environment_with(folder, "snakemake")

    return python_of(made_once(tmp_path_factory, "snakemake", make))


def snakemake(python: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run that Snakemake in ``folder``; its jobs find the ``python`` of these tests."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONPATH", None)
    command = [python, "-m", "snakemake", "--cores", "1", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def told(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stdout + done.stderr
    assert "localrules" not in done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("snakefile", ["Snakefile", "workflow/Snakefile"])
def test_the_default_study_runs_as_a_module(snakefile: str, python: Path, tmp_path: Path) -> None:
    (tmp_path / "Snakefile").write_text(MODULE.format(snakefile=ROOT / snakefile))
    assert re.search(r"^figures +16$", told(snakemake(python, tmp_path, "-n", "--quiet", "rules")), re.MULTILINE)


def test_a_deployed_study_runs_a_job(python: Path, tmp_path: Path) -> None:
    for folder in ("workflow", "config"):
        (tmp_path / folder).mkdir()
    text = 'configfile: "config/config.yaml"\n' + MODULE.format(snakefile=ROOT / "workflow" / "Snakefile")
    text += '\nrule where:\n    output: "where.txt"\n    shell: "echo $PYTHONPATH > {output}"\n'
    (tmp_path / "workflow" / "Snakefile").write_text(text)
    shutil.copytree(ROOT / "workflow" / "profiles", tmp_path / "workflow" / "profiles")
    shutil.copy(ROOT / "config" / "tiny.yaml", tmp_path / "config" / "config.yaml")
    assert re.search(r"^score +4$", told(snakemake(python, tmp_path, "-n", "--quiet", "rules")), re.MULTILINE)
    shard = "results/shard/dataset=tiny/shard-000.parquet"
    told(snakemake(python, tmp_path, "--", shard))
    assert pq.read_metadata(tmp_path / shard).num_rows == 12
    told(snakemake(python, tmp_path, "--", "where.txt"))
    assert (tmp_path / "where.txt").read_text().split(":")[0].strip() == f"{ROOT}/src"
    assert "Nothing to be done" in told(snakemake(python, tmp_path, "--", shard))


def test_rules_can_be_renamed_and_changed(python: Path, tmp_path: Path) -> None:
    text = MODULE.format(snakefile=ROOT / "Snakefile").replace("from vitfaith\n", "from vitfaith as saco_*\n")
    text += "\nuse rule score from vitfaith as saco_score with:\n    priority: 7\n"
    (tmp_path / "Snakefile").write_text(text)
    assert re.search(r"^saco_score +15$", told(snakemake(python, tmp_path, "-n", "--quiet", "rules")), re.MULTILINE)


def test_without_its_source_the_workflow_says_how_to_install_it(python: Path, tmp_path: Path) -> None:
    for name in ("rules", "workflow", "config"):
        shutil.copytree(ROOT / name, tmp_path / name)
    shutil.copy(ROOT / "Snakefile", tmp_path)
    done = snakemake(python, tmp_path, "-n")
    assert done.returncode != 0
    (line,) = [line for line in (done.stdout + done.stderr).splitlines() if "pip install" in line]
    assert "pip install 'vitfaith[workflow]'" in line
    assert "Traceback" not in done.stdout + done.stderr

"""The studies of the papers: their smoke variants ask for the same things, pass the check, and run to their figures."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.workflow.conftest import ROOT, copy_of_the_workflow
from vitfaith.check.study import check_study
from vitfaith.config.load import load_study, read_yaml

PAPERS = ("saco", "fvit")
pytestmark = pytest.mark.xdist_group("workflow")


@pytest.mark.parametrize("paper", PAPERS)
def test_the_smoke_variant_is_the_study_made_small(paper: str) -> None:
    full, smoke = (load_study(read_yaml(ROOT / "config" / folder / f"{paper}.yaml")) for folder in ("", "smoke"))
    for section in ("attacks", "explainers", "metrics", "stability", "figures"):
        small, large = getattr(smoke, section), getattr(full, section)
        assert small or section == "stability"
        assert {id_: item.spec() for id_, item in small.items()}.items() <= {
            id_: item.spec() for id_, item in large.items()
        }.items(), section
    assert set(smoke.datasets) <= set(full.datasets)
    for id_, experiment in smoke.experiments.items():
        for axis in ("models", "attacks", "smoothings", "explainers", "metrics", "stability", "figures"):
            assert set(getattr(experiment, axis)) <= set(getattr(full.experiments[id_], axis)), (id_, axis)


@pytest.mark.parametrize("paper", PAPERS)
def test_the_smoke_variant_passes_the_check(paper: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert "experiments" in check_study(ROOT / "config" / "smoke" / f"{paper}.yaml")[0]


@pytest.mark.parametrize("paper", PAPERS)
def test_the_smoke_variant_runs_and_stands_beside_the_paper(paper: str, tmp_path: Path) -> None:
    workflow = copy_of_the_workflow(tmp_path / "repository")
    (workflow.folder / "tests").symlink_to(ROOT / "tests")
    config: dict[str, Any] = read_yaml(ROOT / "config" / "smoke" / f"{paper}.yaml")
    workflow.write_config(config)
    workflow.snakemake()
    for name, experiment in config["experiments"].items():
        for figure in experiment["figures"]:
            assert (workflow.folder / "results" / "figures" / name / f"{figure}.png").stat().st_size > 5000
    command = [sys.executable, "-m", "vitfaith", "published", "--paper", paper, "--resamples", "100"]
    text = subprocess.run(
        command, cwd=workflow.folder, env=workflow.environment, capture_output=True, text=True, check=True
    ).stdout
    matched = [line for line in text.splitlines() if line.startswith("| imagenet") and "| – | 0 |" not in line]
    assert len(matched) > 3
    assert "confirmed" in text


@pytest.mark.parametrize("path", sorted((ROOT / "config").rglob("*.yaml")), ids=lambda p: p.stem)
def test_every_shipped_configuration_is_valid(path: Path) -> None:
    assert load_study(read_yaml(path)).experiments


def test_the_full_imagenet_study_is_as_large_as_it_says() -> None:
    study = load_study(read_yaml(ROOT / "config" / "examples" / "imagenet_full.yaml"))
    experiment = study.experiments["imagenet"]
    assert study.datasets["imagenet"][1].images == 50_000
    axes = ("explainers", "attacks", "smoothings", "models")
    assert [len(getattr(experiment, axis)) for axis in axes] == [15, 3, 3, 3]

"""The studies of the papers: their smoke variants ask for the same things, pass the check, and run to their figures."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.datasets.files import CIFAR, CIFAR_NAMES, python2, tar
from tests.workflow.conftest import ROOT, Workflow, copy_of_the_workflow
from vitfaith.check.study import check_study
from vitfaith.study.load import load_study, read_yaml

PAPERS = ("saco", "fvit")


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
    assert "experiment" in check_study(ROOT / "config" / "smoke" / f"{paper}.yaml")[0]


def published(workflow: Workflow, paper: str) -> str:
    """What a user reads who asks for the paper's values beside the run's."""
    command = [sys.executable, "-m", "vitfaith", "published", "--paper", paper, "--resamples", "100"]
    return subprocess.run(
        command, cwd=workflow.folder, env=workflow.environment, capture_output=True, text=True, check=True
    ).stdout


@pytest.mark.parametrize("paper", PAPERS)
def test_the_smoke_variant_runs_and_stands_beside_the_paper(paper: str, tmp_path: Path) -> None:
    workflow = copy_of_the_workflow(tmp_path / "repository")
    (workflow.folder / "tests").symlink_to(ROOT / "tests")
    config: dict[str, Any] = read_yaml(ROOT / "config" / "smoke" / f"{paper}.yaml")
    workflow.write_config(config)
    workflow.snakemake()
    for name, experiment in config["experiments"].items():
        for figure in experiment.get("figures", []):
            assert (workflow.folder / "results" / "figures" / name / f"{figure}.png").stat().st_size > 5000
    text = published(workflow, paper)
    matched = [line for line in text.splitlines() if line.startswith("| imagenet") and "| – | 0 |" not in line]
    assert len(matched) > 3
    assert "confirmed" in text


def small_cifar10(folder: Path) -> None:
    """Ten random pictures in the archive's layout, and a ViT of 16 × 16 pixels with ten classes as a folder of the hub."""
    (folder / "data").mkdir()
    files = {"cifar-10-batches-py/batches.meta": python2({"label_names": CIFAR_NAMES, "num_vis": 3072})}
    for i, name in enumerate([*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]):
        batch = {"labels": [i, i + 1, i + 2], "data": CIFAR[i : i + 3], "filenames": ["a.png", "b.png", "c.png"]}
        files[f"cifar-10-batches-py/{name}"] = python2(batch)
    tar(folder / "data" / "cifar-10-python.tar.gz", files, "w:gz")
    source = ROOT / "tests" / "data" / "huggingface" / "vit"
    model = folder / "models" / "vit-base-patch16-224-in21k-finetuned-cifar10"
    shutil.copytree(source, model)
    settings = json.loads((source / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(settings | {"id2label": {str(i): f"class {i}" for i in range(10)}}))
    tensors = load_file(source / "model.safetensors")
    head = {f"classifier.{part}": tensors[f"classifier.{part}"] for part in ("weight", "bias")}
    save_file(tensors | {name: torch.cat([t, t.flip(0)]) for name, t in head.items()}, model / "model.safetensors")


def test_table_1_of_diffmask_on_files_of_cifar10(tmp_path: Path) -> None:
    """The whole study, with its training, on small files in the places that it names."""
    workflow = copy_of_the_workflow(tmp_path / "repository")
    small_cifar10(workflow.folder)
    config: dict[str, Any] = read_yaml(ROOT / "config" / "diffmask_cifar10.yaml")
    for dataset in config["datasets"].values():
        dataset["size"] = 16
    config["datasets"]["cifar10"] |= {"images": 3, "shard_size": 3}
    config["explainers"]["diffmask_cifar10"]["training"] |= {"epochs": 20, "batch_size": 5, "evaluate_every": 10}
    config["statistics"]["resamples"] = 100
    workflow.write_config(config)
    workflow.snakemake()
    for figure in config["experiments"]["cifar10"]["figures"]:
        assert (workflow.folder / "results" / "figures" / "cifar10" / f"{figure}.png").stat().st_size > 5000
    lines = [line for line in published(workflow, "diffmask").splitlines() if line.startswith("| cifar10")]
    assert len(lines) == 16
    assert not [line for line in lines if "| – | 0 |" in line]


@pytest.mark.parametrize("path", sorted((ROOT / "config").rglob("*.yaml")), ids=lambda p: p.stem)
def test_every_shipped_configuration_is_valid(path: Path) -> None:
    assert load_study(read_yaml(path)).experiments


def test_the_full_imagenet_study_is_as_large_as_it_says() -> None:
    study = load_study(read_yaml(ROOT / "config" / "examples" / "imagenet_full.yaml"))
    experiment = study.experiments["imagenet"]
    assert study.datasets["imagenet"][1].images == 50_000
    axes = ("explainers", "attacks", "smoothings", "models")
    assert [len(getattr(experiment, axis)) for axis in axes] == [15, 3, 3, 3]

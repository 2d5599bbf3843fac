"""The study of the counting task: its networks solve it, and maps known to be good or bad score so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from vitfaith.datasets.opening import open_source
from vitfaith.explainers.explain import explain
from vitfaith.explainers.registry import EXPLAINERS
from vitfaith.metrics.evaluate import evaluate
from vitfaith.metrics.registry import METRICS
from vitfaith.models.load import load_classifier
from vitfaith.study.identity import spec_of
from vitfaith.study.load import load_study, read_yaml
from vitfaith.study.plan import Plan
from vitfaith.study.study import Study

ROOT = Path(__file__).resolve().parents[2]


def study_of(name: str) -> Study:
    return load_study(read_yaml(ROOT / "config" / name))


@pytest.mark.parametrize("name", ["grid.yaml", "smoke/grid.yaml"])
def test_the_studies_hold_and_their_jobs_read_the_masks(name: str) -> None:
    plan = Plan(study_of(name))
    for experiment in plan.study.experiments:
        spec = spec_of(plan, "tables", {"experiment": experiment})
        assert '"pooled":{"admissible_side":"side"}' in spec.replace(" ", "")


@pytest.mark.parametrize("task", ["grid_3x3", "grid_5x5"])
def test_the_networks_count_and_attention_finds_the_cells(task: str) -> None:
    study = study_of("grid.yaml")
    section = study.models[f"vit_{task}"]
    model = load_classifier(section.model_dump(), ROOT / str(section.weights))
    source = open_source(study.datasets[f"{task}_validation"][0].spec())
    indices = np.arange(400)
    images, labels = torch.from_numpy(source.read(indices)).float() / 255, torch.from_numpy(source.labels[:400])
    found = torch.cat([model(part).argmax(1) for part in images.split(100)])
    assert float((found == labels).float().mean()) >= 0.99

    few = slice(0, 60)
    assert source.masks is not None
    truth = torch.from_numpy(np.stack([np.asarray(m) for m in source.masks(indices[few])]))
    ids = source.image_ids[few]
    methods = {name: study.explainers[name] for name in ("random", "raw_attention")}
    maps = explain(model, images[few], labels[few], ids, methods, seed=0, batch_size=60)
    metrics = {name: study.metrics[name] for name in ("admissible_mask", "admissible_side")}
    scores = evaluate(model, images[few], labels[few], ids, maps, metrics, truth=truth).scores.to_pandas()
    sided = (source.labels[few] > 0) & (source.labels[few] < model.num_classes - 1)
    assert (scores.flag == "").sum() == 2 * 5 * sided.sum()
    mean = scores.groupby(["method", "variant"]).value.mean()
    assert mean["raw_attention", "iou"] > 0.95
    assert mean["raw_attention", "auroc"] > 0.99
    assert mean["random", "iou"] < 0.6
    assert mean["random", "exact"] < 0.1


def test_the_shipped_diffmask_solves_the_task_in_its_own_scale() -> None:
    study = study_of("grid.yaml")
    section = study.models["vit_grid_3x3"]
    model = load_classifier(section.model_dump(), ROOT / str(section.weights))
    source = open_source(study.datasets["grid_3x3_validation"][0].spec())
    indices = np.arange(100)
    images, labels = torch.from_numpy(source.read(indices)).float() / 255, torch.from_numpy(source.labels[:100])
    assert source.masks is not None
    truth = torch.from_numpy(np.stack([np.asarray(m) for m in source.masks(indices)]))
    ids = source.image_ids[:100]
    file = str(ROOT / "resources" / "diffmasks" / "vit_grid_3x3.safetensors")
    methods = {"diffmask": EXPLAINERS.item("diffmask", weights=file)}
    maps = explain(model, images, labels, ids, methods, seed=0, batch_size=100)
    metrics = {
        "sided": study.metrics["admissible_mask"],
        "all": METRICS.from_spec({**study.metrics["admissible_mask"].spec(), "one_sided": "score"}),
    }
    scores = evaluate(model, images, labels, ids, maps, metrics, truth=truth).scores.to_pandas()
    mean = scores.groupby(["metric", "variant"]).value.mean()
    assert mean["sided", "iou"] >= 0.95
    assert mean["all", "iou"] >= 0.95, "also where all cells are counted, or none"

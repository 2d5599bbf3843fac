"""The code of a job covers the registered items that its own items name in their settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from vitfaith import fingerprint
from vitfaith.explainers.registry import EXPLAINERS
from vitfaith.stability.registry import STABILITY_MEASURES
from vitfaith.study import identity
from vitfaith.study.identity import code_of
from vitfaith.study.load import load_study, read_yaml
from vitfaith.study.plan import Plan

ROOT = Path(__file__).resolve().parents[2]
ATTACK = {"dataset": "tiny", "model": "vit_patch4", "shard": "shard-000"}
SANITY = ATTACK | {"attack": "clean", "smoothing": "none", "family": "one_pass"}


@pytest.fixture
def plan(monkeypatch: pytest.MonkeyPatch) -> Plan:
    monkeypatch.chdir(ROOT)
    raw = read_yaml(Path("config/tiny.yaml"))
    raw["attacks"] = raw["attacks"] | {"top_k_attack": {"explainer": "attention_rollout", "eps": "8/255"}}
    raw["sanity"] = {"model_randomisation": {"measures": ["spearman"]}, "random_logit": {"measures": ["ssim"]}}
    for experiment in raw["experiments"].values():
        experiment["sanity"] = ["model_randomisation", "random_logit"]
    return Plan(load_study(raw))


def changed_code(plan: Plan, stage: str, where: dict[str, Any], module: str, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether another syntax tree of ``module`` gives the job another code."""
    before = code_of(plan, stage, where)
    path, digest = fingerprint._path_of(module), fingerprint._digest_of_file
    monkeypatch.setattr(fingerprint, "_digest_of_file", lambda file: "other" if file == path else digest(file))
    identity._fingerprint.cache_clear()
    after = code_of(plan, stage, where)
    monkeypatch.undo()
    monkeypatch.chdir(ROOT)
    identity._fingerprint.cache_clear()
    return before != after


@pytest.mark.parametrize(("attack", "covered"), [("top_k_attack", True), ("clean", False)])
def test_the_explainer_that_an_attack_is_on_counts(
    plan: Plan, attack: str, covered: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = EXPLAINERS["attention_rollout"].module
    assert changed_code(plan, "attack", ATTACK | {"attack": attack}, module, monkeypatch) is covered


@pytest.mark.parametrize("measure", ["spearman", "ssim"])
def test_the_measures_of_a_check_count(plan: Plan, measure: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module = STABILITY_MEASURES[measure].module
    assert changed_code(plan, "sanity", SANITY, module, monkeypatch)


def test_a_measure_that_no_check_names_does_not_count(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    modules = {entry.module for entry in STABILITY_MEASURES} - {
        STABILITY_MEASURES[m].module for m in ("spearman", "ssim")
    }
    for module in modules:
        assert not changed_code(plan, "sanity", SANITY, module, monkeypatch)


@pytest.mark.parametrize(("stage", "where"), [("train_classifier", "vit_patch4"), ("train_denoiser", "fashion_mnist")])
def test_the_readers_of_both_datasets_of_a_training_count(
    stage: str, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    raw = read_yaml(Path("config/config.yaml"))
    for section in ("models", "denoisers"):
        for item in raw[section].values():
            item["training"]["test_on"] = "fashion_mnist"
    for experiment in raw["experiments"].values():
        experiment["datasets"] = ["fashion_mnist"]
    plan = Plan(load_study(raw))
    for dataset in ("fashion_mnist", "fashion_mnist_train"):  # two readers
        module = plan.study.datasets[dataset][0].entry.module
        assert changed_code(plan, stage, {"name": where}, module, monkeypatch)

"""The code of a job covers the registered items that its own items name in their settings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vitfaith import fingerprint
from vitfaith.explainers.registry import EXPLAINERS
from vitfaith.metrics.fills.registry import FILLS
from vitfaith.metrics.registry import METRICS
from vitfaith.stability.registry import STABILITY_MEASURES
from vitfaith.study import identity
from vitfaith.study.identity import code_of, spec_of
from vitfaith.study.load import load_study, read_yaml
from vitfaith.study.plan import Plan

ROOT = Path(__file__).resolve().parents[2]
ATTACK = {"dataset": "tiny", "model": "vit_patch4", "shard": "shard-000"}
SANITY = ATTACK | {"attack": "clean", "smoothing": "none", "explained": "clean_prediction", "family": "one_pass"}


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
    with monkeypatch.context() as patch:
        patch.setattr(fingerprint, "_digest_of_file", lambda file: "other" if file == path else digest(file))
        identity._fingerprint.cache_clear()
        after = code_of(plan, stage, where)
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


def test_the_fill_of_a_training_counts_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    raw = read_yaml(Path("config/config.yaml"))
    raw["models"]["vit_patch4"]["training"]["removal"] = {"fill": "noisy_linear", "up_to": "1/2"}
    plan = Plan(load_study(raw))
    spec = json.loads(spec_of(plan, "train_classifier", {"name": "vit_patch4"}))
    assert spec["recipe"]["removal"]["up_to"] == 0.5
    assert spec["fill"]["use"] == "noisy_linear"
    road = FILLS["noisy_linear"].module
    assert changed_code(plan, "train_classifier", {"name": "vit_patch4"}, road, monkeypatch)
    assert not changed_code(plan, "train_classifier", {"name": "vit_patch2"}, road, monkeypatch)
    assert not changed_code(plan, "train_classifier", {"name": "vit_patch4"}, FILLS["blur"].module, monkeypatch)


PLUGIN = """
from vitfaith.register import Metric, fill, metric
from vitfaith.rng import uniform


@fill("white", citation="mine")
def white(context, parameters):
    \"\"\"One in pixel units.\"\"\"
    return context.images.new_ones(context.images.shape)


@metric("drawn", direction="higher", citation="mine")
class Drawn(Metric):
    \"\"\"A random number.\"\"\"
"""


def test_a_plugin_and_what_it_imports_count_also_where_it_brings_a_fill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    for registry in (FILLS, METRICS):  # what the plugin enters goes with the test
        monkeypatch.setattr(registry, "_entries", dict(registry._entries))
    plugin = tmp_path / "white_fill.py"
    plugin.write_text(PLUGIN, encoding="utf-8")
    raw = read_yaml(Path("config/tiny.yaml"))
    raw["plugins"] = [str(plugin)]
    raw["metrics"] = {"saco": {"groups": [7], "fill": "white"}}
    for experiment in raw["experiments"].values():
        experiment["metrics"] = ["saco"]
    plan = Plan(load_study(raw))
    assert json.loads(spec_of(plan, "score", SANITY))["plugins"] == [str(plugin)]
    assert changed_code(plan, "score", SANITY, "vitfaith.rng", monkeypatch)
    assert "plugins" not in json.loads(spec_of(plan, "attribute", SANITY))

    before = code_of(plan, "score", SANITY)
    plugin.write_text(PLUGIN.replace("new_ones", "new_zeros"), encoding="utf-8")
    fingerprint._digest_of_file.cache_clear()
    identity._fingerprint.cache_clear()
    assert code_of(plan, "score", SANITY) != before


def test_the_imports_of_a_plugin_are_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin = tmp_path / "imports.py"
    plugin.write_text("from vitfaith.statistics.ranks import friedman_nemenyi", encoding="utf-8")

    def code() -> str:
        return fingerprint.fingerprint(["vitfaith.stages.stability"], stop=identity.STOP, files=[plugin])

    before, digest = code(), fingerprint._digest_of_file
    changed = fingerprint._path_of("vitfaith.statistics.ranks")
    monkeypatch.setattr(fingerprint, "_digest_of_file", lambda path: digest(path) + "*" * (path == changed))
    assert code() != before

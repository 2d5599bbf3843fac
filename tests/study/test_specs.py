"""Specifications are arguments of a command line, whose length the system limits."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from vitfaith.study.identity import spec_of
from vitfaith.study.load import load_study, read_yaml
from vitfaith.study.plan import Plan
from vitfaith.study.specs import SPECS
from vitfaith.tables.clusters import shards_of
from vitfaith.tables.collect import cell_files, with_shards

ROOT = Path(__file__).resolve().parents[2]
LONGEST = 128 * 1024
"""Bytes of one argument on Linux."""


@pytest.mark.parametrize("shard_size", [1000, 6])
def test_the_tables_of_any_number_of_shards_fit_on_a_command_line(
    shard_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    raw: dict[str, Any] = copy.deepcopy(read_yaml(Path("config/examples/imagenet_full.yaml")))
    raw["datasets"]["imagenet"]["shard_size"] = shard_size
    plan = Plan(load_study(raw))
    text = spec_of(plan, "tables", {"experiment": "imagenet"})
    assert len(text.encode()) < LONGEST / 4
    spec = json.loads(text)
    assert spec["shards"] == {"imagenet": -(-50_000 // shard_size)}
    assert with_shards(spec)["shards"] == {"imagenet": plan.shards("imagenet")}
    assert SPECS["tables"](plan, experiment="imagenet") == {
        **spec,
        "shards": {"imagenet": len(plan.shards("imagenet"))},
    }


def test_tables_read_the_files_that_the_rule_waits_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    plan = Plan(load_study(read_yaml(Path("config/tiny.yaml"))))
    spec = with_shards(json.loads(spec_of(plan, "tables", {"experiment": "tiny"})))
    waited = {Path(path) for path in plan.experiment_files("tiny")}
    for stage in ("scores", "curves", "stability"):
        read = set(cell_files(spec, "results", stage))
        assert read
        assert read <= waited
    shards = {path for _, path in shards_of(spec, "results")}
    assert shards
    assert shards <= waited


def test_a_training_takes_the_images_of_its_data_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    raw: dict[str, Any] = copy.deepcopy(read_yaml(Path("config/indomain.yaml")))
    raw["datasets"]["fashion_mnist_train"]["images"] = 640
    del raw["datasets"]["fashion_mnist_test"]["images"]
    spec = json.loads(spec_of(Plan(load_study(raw)), "train_classifier", {"name": "knows_black"}))
    assert spec["subset"] == {"train_on": {"images": 640, "seed": 2024}}
    del raw["datasets"]["fashion_mnist_train"]["images"]
    assert "subset" not in json.loads(spec_of(Plan(load_study(raw)), "train_classifier", {"name": "knows_black"}))


PLACE = {"dataset": "tiny", "model": "vit_patch4", "attack": "pgd", "smoothing": "dds", "shard": "shard-000"}
OF_CLASS = {"explained": "clean_prediction"}
JOBS = {
    "attack": {name: PLACE[name] for name in ("dataset", "model", "attack", "shard")},
    "clean attack": {name: PLACE[name] for name in ("dataset", "model", "shard")} | {"attack": "clean"},
    "predict": PLACE,
    "attribute": PLACE | OF_CLASS | {"family": "one_pass"},
    "attribute relevance": PLACE | OF_CLASS | {"family": "relevance"},
    "score": PLACE | OF_CLASS | {"family": "one_pass"},
}
"""Job → wildcards; the first word that is a stage names it."""
CHANGED: dict[str, dict[str, dict[str, str]]] = {
    "attack": {"attack": {"precision": "bfloat16"}},
    "predict": {
        "attack": {"predict_precision": "bfloat16"},
        "clean attack": {"predict_precision": "bfloat16"},
        "predict": {"precision": "bfloat16"},
    },
    "attribute": {"attribute": {"precision": "bfloat16"}},
    "score": {"score": {"precision": "bfloat16"}},
}
"""Stage whose precision is bfloat16 → job → what its specification then holds."""


def specs_of(precision: Any) -> dict[str, dict[str, Any]]:
    raw: dict[str, Any] = copy.deepcopy(read_yaml(ROOT / "config" / "tiny.yaml"))
    raw["explainers"]["lrp"] = {}
    if precision is not None:
        raw["models"]["vit_patch4"]["precision"] = precision
    plan = Plan(load_study(raw))
    return {job: json.loads(spec_of(plan, _stage_of(job), places)) for job, places in JOBS.items()}


def _stage_of(job: str) -> str:
    return next(word for word in job.split() if word in SPECS)


@pytest.mark.parametrize("stage", CHANGED)
def test_a_precision_repeats_the_jobs_that_it_changes_and_no_others(
    stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    before, after = specs_of(None), specs_of({stage: "bfloat16"})
    assert {job for job in JOBS if before[job] != after[job]} == set(CHANGED[stage])
    for job, held in CHANGED[stage].items():
        assert after[job] == before[job] | held


def test_one_word_is_the_precision_of_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert specs_of("bfloat16") == specs_of({"score": "bfloat16"})
    assert specs_of("float32") == specs_of(None) == specs_of({})
    unchanged = [job for job in JOBS if job != "score"]
    assert not any("precision" in key for job in unchanged for key in specs_of(None)[job])

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


def test_a_training_takes_the_images_of_its_data_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    raw: dict[str, Any] = copy.deepcopy(read_yaml(Path("config/indomain.yaml")))
    raw["datasets"]["fashion_mnist_train"]["images"] = 640
    del raw["datasets"]["fashion_mnist_test"]["images"]
    spec = json.loads(spec_of(Plan(load_study(raw)), "train_classifier", {"name": "knows_black"}))
    assert spec["subset"] == {"train_on": {"images": 640, "seed": 2024}}
    del raw["datasets"]["fashion_mnist_train"]["images"]
    assert "subset" not in json.loads(spec_of(Plan(load_study(raw)), "train_classifier", {"name": "knows_black"}))

"""A model that scores another one's maps has scores of its own and shares everything else."""

from __future__ import annotations

import copy
import json
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from vitfaith.artifacts.paths import Condition
from vitfaith.artifacts.store import partition_values
from vitfaith.errors import ConfigError
from vitfaith.study.identity import spec_of
from vitfaith.study.inputs import images_to_score, maps_to_score, reads
from vitfaith.study.jobs import jobs
from vitfaith.study.learned import trained
from vitfaith.study.load import load_study, read_yaml
from vitfaith.study.plan import Plan
from vitfaith.tables.collect import cell_files, with_shards

ROOT = Path(__file__).resolve().parents[2]
PLACE = {
    "dataset": "tiny",
    "model": "reader",
    "attack": "pgd",
    "smoothing": "dds",
    "explained": "prediction",
    "family": "one_pass",
    "shard": "shard-000",
}


def configuration(**changes: Any) -> dict[str, Any]:
    raw = copy.deepcopy(read_yaml(ROOT / "config" / "tiny.yaml"))
    raw["models"]["reader"] = copy.deepcopy(raw["models"]["vit_patch4"]) | {"maps_of": "vit_patch4"} | changes
    raw["sanity"], raw["metrics"]["mu_fidelity"] = {"random_logit": {}}, {"count": 20}
    raw["certificates"] = {}
    raw["explainers"]["diffmask"] = {
        "weights": "trained",
        "training": {"train_on": "tiny", "test_on": "tiny", "steps": 1},
    }
    raw["experiments"]["tiny"] |= {"sanity": ["random_logit"], "targets": ["clean_prediction", "prediction"]}
    raw["experiments"]["tiny"]["datasets"] = ["tiny"]
    return raw


@pytest.fixture
def at_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def of_reader(files: list[str]) -> set[str]:
    return {file.split("/")[1] for file in files if "model=reader" in file}


@pytest.mark.usefixtures("at_root")
@pytest.mark.parametrize("models", [["vit_patch4", "reader"], ["reader"]])
def test_scores_alone_lie_below_the_scoring_model(models: list[str]) -> None:
    raw = configuration()
    raw["experiments"]["tiny"]["models"] = models
    plan = Plan(load_study(raw))
    files = plan.experiment_files("tiny")
    assert of_reader(files) == {"scores", "curves"}
    stages = {"attack", "attribute", "predictions"} | ({"stability", "sanity"} if len(models) > 1 else set())
    both = {"scores", "curves"} if len(models) > 1 else set()
    assert {file.split("/")[1] for file in files if "model=vit_patch4" in file} == stages | both
    denoised = {str(path) for job in jobs(plan) if job.stage == "denoise" for path in job.outputs}
    assert denoised
    assert not of_reader(sorted(denoised))
    assert trained(plan) == [("diffmask", "vit_patch4")]
    spec = with_shards(json.loads(spec_of(plan, "tables", {"experiment": "tiny"})))
    read = [
        str(p)
        for stage in ("attack", "attribute", "predictions")
        for p in cell_files(spec, "results", stage, family=stage == "attribute")
    ]
    assert not of_reader(read)
    scored = {partition_values(p)["model"] for p in cell_files(spec, "results", "scores")}
    assert scored == set(models)


@pytest.mark.usefixtures("at_root")
def test_a_job_reads_the_explained_models_maps_and_asks_the_other_network() -> None:
    raw = configuration()
    raw["models"]["reader"]["weights"] = "other.safetensors"
    plan = Plan(load_study(raw))
    images, maps = images_to_score(plan, PLACE), maps_to_score(plan, PLACE)
    assert images == "results/attack/dataset=tiny/model=vit_patch4/attack=pgd/shard-000.parquet"
    own = "dataset=tiny/model=vit_patch4/attack=pgd/smoothing=dds/explained=prediction/family=one_pass"
    assert maps == f"results/attribute/{own}/shard-000.parquet"
    found = {read.option: read.path for read in reads(plan, "score", PLACE)}
    assert found["weights"] == "other.safetensors"
    assert "/model=vit_patch4/" in found["predictions"]  # the explained class stays that of the explained network
    assert "/bank/dataset=tiny/model=reader/" in found["bank"]
    score = json.loads(spec_of(plan, "score", PLACE))
    assert score["model"]["timm"] == raw["models"]["reader"]["timm"]


@pytest.mark.usefixtures("at_root")
def test_jobs_of_the_explained_model_stay_as_they_are() -> None:
    with_reader = configuration()
    alone = configuration()
    del alone["models"]["reader"]
    plans = [Plan(load_study(raw)) for raw in (with_reader, alone)]
    place = PLACE | {"model": "vit_patch4"}
    for stage, names in (
        ("attack", ("dataset", "model", "attack", "shard")),
        ("attribute", tuple(PLACE)),
        ("score", tuple(PLACE)),
        ("stability", tuple(PLACE)),
    ):
        wanted = {name: place[name] for name in names}
        assert spec_of(plans[0], stage, wanted) == spec_of(plans[1], stage, wanted)


@pytest.mark.usefixtures("at_root")
def test_maps_are_made_for_the_explainers_of_the_scoring_model() -> None:
    raw = configuration()
    base = raw["experiments"]["tiny"]
    raw["experiments"] = {
        "own": base | {"models": ["vit_patch4"], "explainers": ["random"]},
        "read": base | {"models": ["reader"], "explainers": ["random", "rollout"]},
    }
    plan = Plan(load_study(raw))
    for model in ("vit_patch4", "reader"):
        condition = Condition("tiny", model, "clean", "none", "clean_prediction")
        assert sorted(chain(*plan.methods(condition).values())) == ["random", "rollout"]


@pytest.mark.parametrize("explained", ["reader", "missing", "third"])
def test_maps_of_names_another_model_with_maps_of_its_own(explained: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    raw = configuration(maps_of=explained)
    raw["models"]["third"] = raw["models"]["vit_patch4"] | {"maps_of": "vit_patch4"}
    with pytest.raises(ConfigError, match=r"models\.reader\.maps_of: .* is not another model with its own maps"):
        load_study(raw)

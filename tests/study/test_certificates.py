"""Certificates in a configuration: what is understood, and what each mistake says before anything runs."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from vitfaith.artifacts.paths import Condition
from vitfaith.errors import ConfigError
from vitfaith.study.identity import code_of, spec_of
from vitfaith.study.load import load_study, read_yaml
from vitfaith.study.plan import Plan

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def raw() -> dict[str, Any]:
    return copy.deepcopy(read_yaml(ROOT / "config" / "certificates.yaml"))


def test_what_a_job_is_told(raw: dict[str, Any]) -> None:
    plan = Plan(load_study(raw))
    where = {
        "dataset": "fashion_mnist_32",
        "model": "vit_patch4",
        "attack": "clean",
        "smoothing": "dds_0.25",
        "explained": "clean_prediction",
    }
    spec = json.loads(spec_of(plan, "certify", where | {"shard": "shard-000"}))
    assert spec["sigma"] == 0.25
    assert spec["certificates"]["grouped"]["use"] == "grouped"
    assert spec["certificates"]["grouped"]["k"] == [5, 10]
    assert spec["certificates"]["paper_closed_form"]["bound"] == "none"
    files = plan.experiment_files("certified")
    assert [f for f in files if "/certificates/" in f] == [
        f"results/certificates/dataset=fashion_mnist_32/model=vit_patch4/attack=clean/smoothing={s}/explained=clean_prediction/shard-000.parquet"
        for s in ("dds_0.12", "dds_0.25", "dds_0.50")
    ]
    assert not [f for f in plan.experiment_files("radius") if "/certificates/" in f]
    assert plan.certificates(Condition("fashion_mnist", "vit_patch4", "clean", "official", "clean_prediction")) == []


def test_the_noise_is_told_where_it_is_not_gaussian(raw: dict[str, Any]) -> None:
    where = {"dataset": "fashion_mnist_32", "attack": "clean", "smoothing": "dds_0.25", "shard": "shard-000"}
    stages = {
        "denoise": where | {"model": "shared"},
        "attribute": where | {"model": "vit_patch4", "explained": "clean_prediction", "family": "one_pass"},
        "certify": where | {"model": "vit_patch4", "explained": "clean_prediction"},
        "tables": {"experiment": "certified"},
        "attack": {**where, "model": "vit_patch4", "attack": "adaptive_8"},
    }
    stages["attack"].pop("smoothing")

    def specs() -> dict[str, str]:
        plan = Plan(load_study(raw))
        return {stage: spec_of(plan, stage, wildcards) for stage, wildcards in stages.items()}

    raw["experiments"]["certified"] |= {"certificates": ["cohen", "grouped"], "figures": []}
    before = specs()
    for smoothing in ("dds_0.25", "dds"):
        raw["smoothings"][smoothing]["noise"] = "gaussian"
    assert specs() == before
    assert not [stage for stage, text in before.items() if '"noise"' in text]
    for smoothing in ("dds_0.25", "dds"):
        raw["smoothings"][smoothing]["noise"] = "uniform"
    for stage, text in specs().items():
        assert '"noise":"uniform"' in text, stage
    assert json.loads(specs()["certify"])["noise"] == "uniform"


def test_one_number_is_a_list_of_one(raw: dict[str, Any]) -> None:
    raw["certificates"]["grouped"] = {"k": 7, "beta": "4/5"}
    parameters = load_study(raw).certificates["grouped"].parameters.model_dump()
    assert (parameters["k"], parameters["beta"]) == ((7,), (0.8,))


def few_samples(raw: dict[str, Any]) -> None:
    raw["smoothings"]["dds_0.25"]["samples"] = 105


def no_samples_left(raw: dict[str, Any]) -> None:
    raw["smoothings"]["dds_0.25"]["samples"] = 60


def official(raw: dict[str, Any]) -> None:
    raw["experiments"]["certified"]["smoothings"] = ["official"]


def unsmoothed(raw: dict[str, Any]) -> None:
    raw["experiments"]["certified"]["smoothings"] = ["none"]


def network_size(raw: dict[str, Any]) -> None:
    raw["smoothings"]["dds_0.25"]["size"] = "network"


def maximum(raw: dict[str, Any]) -> None:
    raw["smoothings"]["dds_0.25"]["aggregation"] = "percentile_max"


def laplace_noise(raw: dict[str, Any]) -> None:
    raw["smoothings"]["dds_0.25"]["noise"] = "laplace"


def uniform_noise(raw: dict[str, Any]) -> None:
    raw["smoothings"]["dds_0.25"]["noise"] = "uniform"
    raw["experiments"]["certified"] |= {"certificates": ["cohen", "grouped", "renyi"], "figures": []}


def beta(raw: dict[str, Any]) -> None:
    raw["certificates"]["grouped"]["beta"] = [0.5, 0]


def k(raw: dict[str, Any]) -> None:
    raw["certificates"]["grouped"]["k"] = 0


def unknown(raw: dict[str, Any]) -> None:
    raw["certificates"]["grouped"]["certificate"] = "groupd"


def reference(raw: dict[str, Any]) -> None:
    raw["experiments"]["certified"]["certificates"] = ["coen"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            few_samples,
            r"certificates.cohen.selection: .*'dds_0.25', 100 .* leave 5 .* 10 are the fewest .* alpha = 0.001",
        ),
        (no_samples_left, r"leave 0 for the bound.*raise smoothings.dds_0.25.samples or lower selection"),
        (official, r"experiments.certified.certificates: nothing can be certified behind smoothing 'official'"),
        (network_size, "nothing can be certified behind smoothing 'dds_0.25'"),
        (maximum, "nothing can be certified behind smoothing 'dds_0.25'"),
        (
            laplace_noise,
            r"experiments.certified.certificates: 'faithfulness' behind smoothing 'dds_0.25': certificate 'faithfulness' "
            "holds behind gaussian noise, not behind laplace noise; name another certificate or smoothing",
        ),
        (
            uniform_noise,
            r"'renyi' behind .*'dds_0.25'.* holds behind gaussian or laplace noise, not behind uniform noise",
        ),
        (unsmoothed, "certificates are of smoothed results; add a smoothing"),
        (beta, r"certificates.grouped: beta must lie in \(0, 1\], not 0"),
        (k, "certificates.grouped: k must hold whole numbers of at least 1, not 0"),
        (unknown, r"unknown certificate 'groupd' \(did you mean 'grouped'\?\)"),
        (reference, r"'coen' is not in section certificates \(did you mean 'cohen'\?\)"),
    ],
    ids=lambda v: getattr(v, "__name__", ""),
)
def test_what_cannot_be_certified_is_said_at_once(raw: dict[str, Any], change: Any, message: str) -> None:
    change(raw)
    with pytest.raises(ConfigError, match=message):
        load_study(raw)


def test_a_smoothing_of_a_plugin_is_planned_and_its_file_is_named_to_the_job(
    raw: dict[str, Any], tmp_path: Path
) -> None:
    from tests.smoothings.test_stage import PLUGIN
    from vitfaith.smoothings.registry import SMOOTHINGS

    path = tmp_path / "planned_smoothing.py"
    path.write_text(PLUGIN.replace("my_gaussian", "planned_gaussian"))
    raw["plugins"] = [str(path)]
    raw["smoothings"]["mine"] = {"smoothing": "planned_gaussian", "sigma": 0.1, "samples": 300}
    raw["experiments"]["certified"] |= {"smoothings": ["mine"], "figures": []}
    try:
        plan = Plan(load_study(raw))
        where = {
            "dataset": "fashion_mnist_32",
            "attack": "clean",
            "smoothing": "mine",
            "shard": "shard-000",
        }
        spec = json.loads(spec_of(plan, "denoise", where | {"model": "shared"}))
        assert spec["plugins"] == [str(path)]
        assert plan.smooths("mine")
        assert plan.denoiser_files("smoothings", "mine") == []
        before = code_of(plan, "denoise", where | {"model": "shared"})
        assert (
            json.loads(spec_of(plan, "certify", where | {"model": "vit_patch4", "explained": "clean_prediction"}))[
                "sigma"
            ]
            == 0.1
        )
        assert before != code_of(plan, "denoise", where | {"model": "shared", "smoothing": "dds_0.25"})
    finally:
        SMOOTHINGS._entries.pop("planned_gaussian", None)

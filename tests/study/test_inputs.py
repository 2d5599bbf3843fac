"""What jobs read beside the files that their rules name."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from vitfaith.artifacts.store import partition_values
from vitfaith.cli.main import app
from vitfaith.study import inputs
from vitfaith.study.jobs import jobs
from vitfaith.study.load import load_study, read_yaml
from vitfaith.study.plan import Plan

ROOT = Path(__file__).resolve().parents[2]
CONDITION = "dataset=tiny/model=vit_patch4/attack=pgd"
WEIGHTS = f"{ROOT}/resources/models/vit_patch4.safetensors"
DENOISER = f"{ROOT}/resources/denoisers/fashion_mnist"


@pytest.fixture
def plan(monkeypatch: pytest.MonkeyPatch) -> Plan:
    monkeypatch.chdir(ROOT)
    raw: dict[str, Any] = copy.deepcopy(read_yaml(ROOT / "config" / "tiny.yaml"))
    raw["metrics"] |= {
        "mu_fidelity": {},
        "drawn": {"metric": "deletion_auc", "fill": {"name": "diffusion", "denoiser": "fashion_mnist"}},
    }
    raw["attacks"]["idle"] = {"attack": "clean"}
    return Plan(load_study(raw))


def told(plan: Plan, stage: str, **changes: str) -> list[tuple[str, str]]:
    wildcards = {
        "dataset": "tiny",
        "model": "vit_patch4",
        "attack": "pgd",
        "smoothing": "dds",
        "explained": "clean_prediction",
        "family": "one_pass",
    }
    found = inputs.reads(plan, stage, {**wildcards, "shard": "shard-000", **changes})
    for read in found:
        assert read.files or read.option == "weights"
        assert all(file.startswith(read.path) for file in read.files)
    return [(read.option, read.path) for read in found]


def test_options_and_files_of_each_stage(plan: Plan) -> None:
    attributed = f"results/attribute/{CONDITION}/smoothing=dds/explained=clean_prediction/family"
    bank = f"results/bank/{CONDITION}/smoothing=none/explained=clean_prediction/shard-000.parquet"
    assert told(plan, "attack") == [("weights", WEIGHTS)]
    assert told(plan, "denoise") == [("denoiser", DENOISER)]
    samples = f"results/denoise/{CONDITION}/smoothing=dds/shard-000.parquet"
    assert told(plan, "predict") == told(plan, "attribute") == [("denoised", samples), ("weights", WEIGHTS)]
    assert told(plan, "attribute", smoothing="none") == told(plan, "sanity") == [("weights", WEIGHTS)]
    assert told(plan, "bank", smoothing="none") == [("weights", WEIGHTS), ("denoiser", DENOISER)]
    assert told(plan, "score") == [("weights", WEIGHTS), ("bank", bank), ("denoiser", DENOISER)]
    assert told(plan, "certify") == [("maps", f"{attributed}=one_pass/shard-000.parquet")]
    assert [option for option, _ in told(plan, "stability")] == ["clean", "undefended"]


def test_clean_images_are_denoised_once_for_all_models(plan: Plan) -> None:
    place = {
        "dataset": "tiny",
        "attack": "clean",
        "smoothing": "dds",
        "explained": "clean_prediction",
        "shard": "shard-000",
    }
    assert (
        inputs.images_to_denoise(plan, {**place, "model": "shared"}) == "results/shard/dataset=tiny/shard-000.parquet"
    )
    assert inputs.images_to_denoise(plan, {**place, "model": "vit_patch4", "attack": "pgd"}) == (
        f"results/attack/{CONDITION}/shard-000.parquet"
    )
    assert (
        "denoised",
        "results/denoise/dataset=tiny/model=shared/attack=clean/smoothing=dds/shard-000.parquet",
    ) in told(plan, "attribute", attack="clean")


def test_stages_that_look_at_clean_images_read_their_shard(plan: Plan) -> None:
    """As the attack ``idle`` does, which is ``clean`` by another id; explainers and `predict` behind a smoothing do not."""
    shard = ("pixels", "results/shard/dataset=tiny/shard-000.parquet")
    for attack in ("clean", "idle"):
        for stage in ("bank", "score", "sanity"):
            assert shard in told(plan, stage, attack=attack, smoothing="none"), stage
        assert shard in told(plan, "attribute", attack=attack, smoothing="none")
        assert shard in told(plan, "score", attack=attack)
        for stage in ("attribute", "predict"):
            assert "pixels" not in dict(told(plan, stage, attack=attack)), stage
    place = {"dataset": "tiny", "model": "vit_patch4", "attack": "idle", "smoothing": "dds", "shard": "shard-000"}
    assert inputs.images_to_denoise(plan, place) == shard[1]


def test_every_option_is_one_of_its_verb(plan: Plan) -> None:
    verbs = get_command(app).commands  # type: ignore[attr-defined]
    for job in jobs(plan):
        values = {**partition_values(job.outputs[0]), "shard": job.outputs[0].stem}
        if job.stage in ("attack", "denoise", "predict", "attribute", "score", "stability"):
            known = {name for parameter in verbs[job.stage].params for name in parameter.opts}
            assert {f"--{read.option}" for read in inputs.reads(plan, job.stage, values)} <= known

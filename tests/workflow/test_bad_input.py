"""What a user gets for wrong input at each stage: one clear line that names the place, in seconds, before any compute."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.workflow.conftest import ROOT, Workflow
from vitfaith.errors import REPEATS
from vitfaith.study import identity
from vitfaith.study.load import load_study, read_yaml
from vitfaith.study.plan import Plan

CELL = {
    "dataset": "tiny",
    "model": "vit_patch4",
    "attack": "pgd",
    "smoothing": "dds",
    "explained": "clean_prediction",
    "shard": "shard-000",
}
WEIGHTS = "resources/models/vit_patch4.safetensors"


def spec_of(stage: str, **changes: Any) -> str:
    plan = Plan(load_study(read_yaml(ROOT / "config" / "tiny.yaml")))
    names = {
        "shard": ("dataset", "shard"),
        "attack": ("dataset", "model", "attack", "shard"),
        "denoise": ("dataset", "model", "attack", "smoothing", "shard"),
    }.get(stage, ("dataset", "model", "attack", "smoothing", "explained", "family", "shard"))
    spec = json.loads(identity.spec_of(plan, stage, {n: {**CELL, "family": "one_pass"}[n] for n in names}))
    return json.dumps({**spec, **changes})


def fail(folder: Path, *arguments: str) -> str:
    done = subprocess.run([sys.executable, "-m", "vitfaith", *arguments], cwd=folder, capture_output=True, text=True)
    assert done.returncode == REPEATS, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, done.stderr
    return lines[0]


@pytest.fixture
def results(study: Workflow) -> Path:
    return study.folder / "results"


def shard_file(results: Path) -> Path:
    return results / "shard/dataset=tiny/shard-000.parquet"


def test_shard_of_a_missing_file(study: Workflow) -> None:
    reader = {"use": "parquet", "path": "nowhere.parquet"}
    message = fail(study.folder, "shard", "--spec", spec_of("shard", reader=reader), "--out", "x.parquet")
    assert "'nowhere.parquet' does not exist" in message


def test_attack_on_a_corrupt_shard(study: Workflow, results: Path) -> None:
    path = shard_file(results)
    path.write_bytes(path.read_bytes()[:100])
    message = fail(
        study.folder, "attack", "--spec", spec_of("attack"), "--images", str(path), "--weights", WEIGHTS,
        "--out", "x.parquet", "--predictions", "y.parquet",
    )  # fmt: skip
    assert "shard-000.parquet" in message
    assert "delete it and run again" in message


def test_attack_with_a_model_of_another_image_size(study: Workflow, results: Path) -> None:
    model = json.loads(spec_of("attack"))["model"]
    model = {**model, "arguments": {**model["arguments"], "img_size": 32}, "mean": [0.3], "std": [0.3]}
    message = fail(
        study.folder, "attack", "--spec", spec_of("attack", model=model), "--images", str(shard_file(results)),
        "--weights", WEIGHTS, "--out", "x.parquet", "--predictions", "y.parquet",
    )  # fmt: skip
    assert "do not fit the model" in message
    assert not (study.folder / "x.parquet").exists()


def test_attack_on_labels_the_model_does_not_have(study: Workflow, results: Path) -> None:
    table = pq.read_table(shard_file(results))
    labels = pa.array([10] * len(table), pa.int32())
    pq.write_table(table.set_column(1, table.schema.field("label"), labels), study.folder / "labels.parquet")
    message = fail(
        study.folder, "attack", "--spec", spec_of("attack"), "--images", "labels.parquet", "--weights", WEIGHTS,
        "--out", "x.parquet", "--predictions", "y.parquet",
    )  # fmt: skip
    assert "has label 10, the model only 10 classes" in message


def test_denoise_without_a_denoiser(study: Workflow, results: Path) -> None:
    (study.folder / "empty").mkdir()
    message = fail(
        study.folder, "denoise", "--spec", spec_of("denoise"), "--images", str(shard_file(results)),
        "--denoiser", "empty", "--out", "x.parquet",
    )  # fmt: skip
    assert "empty" in message


def test_attribute_with_a_cache_of_other_images(study: Workflow, results: Path) -> None:
    cache = results / "denoise/dataset=tiny/model=vit_patch4/attack=pgd/smoothing=dds/shard-000.parquet"
    table = pq.read_table(cache)
    pq.write_table(table.slice(2), study.folder / "part.parquet")
    images = results / "attack/dataset=tiny/model=vit_patch4/attack=pgd/shard-000.parquet"
    message = fail(
        study.folder, "attribute", "--spec", spec_of("attribute"), "--images", str(images), "--denoised", "part.parquet",
        "--weights", WEIGHTS, "--out", "x.parquet",
    )  # fmt: skip
    assert "part.parquet" in message


def test_score_with_maps_of_other_images_or_a_missing_column(study: Workflow, results: Path) -> None:
    tail = "dataset=tiny/model=vit_patch4/attack=pgd"
    images = results / "attack" / tail / "shard-000.parquet"
    maps = pq.read_table(
        results / "attribute" / tail / "smoothing=dds/explained=clean_prediction/family=one_pass/shard-000.parquet"
    )
    for table, expected in [(maps.slice(1), "of other images than"), (maps.drop_columns(["map"]), "no column 'map'")]:
        pq.write_table(table, study.folder / "maps.parquet")
        message = fail(
            study.folder, "score", "--spec", spec_of("score"), "--images", str(images), "--maps", "maps.parquet",
            "--weights", WEIGHTS, "--scores", "x.parquet", "--curves", "y.parquet",
        )  # fmt: skip
        assert "maps.parquet" in message
        assert expected in message


def test_stability_with_a_reference_that_lacks_a_method(study: Workflow, results: Path) -> None:
    tail = "dataset=tiny/model=vit_patch4"
    own = (
        results
        / "attribute"
        / tail
        / "attack=pgd/smoothing=none/explained=clean_prediction/family=one_pass/shard-000.parquet"
    )
    table = pq.read_table(
        results
        / "attribute"
        / tail
        / "attack=clean/smoothing=none/explained=clean_prediction/family=one_pass/shard-000.parquet"
    )
    pq.write_table(table.filter(pa.compute.not_equal(table["method"], "rollout")), study.folder / "reference.parquet")
    message = fail(
        study.folder,
        "stability",
        "--spec",
        spec_of("stability"),
        "--maps",
        str(own),
        "--clean",
        "reference.parquet",
        "--out",
        "x.parquet",
    )
    assert "'reference.parquet' has no maps of 'rollout'" in message


def test_figure_without_its_table(study: Workflow) -> None:
    shutil.rmtree(study.folder / "results" / "tables")
    plan = Plan(load_study(read_yaml(ROOT / "config" / "tiny.yaml")))
    spec = identity.spec_of(plan, "figures", {"experiment": "tiny", "figure": "saco_leaderboard"})
    message = fail(study.folder, "figures", "--spec", spec, "--tables", "results/tables/experiment=tiny", "--out", "f")
    assert "summary.parquet', which does not exist; run the tables stage" in message


def test_eps_of_8_instead_of_8_of_255(study: Workflow) -> None:
    config = study.config
    config["attacks"]["pgd"]["eps"] = 8
    study.write_config(config)
    done = study.snakemake("-n", check=False)
    assert done.returncode != 0
    assert "attacks.pgd" in done.stdout + done.stderr
    assert "8/255" in done.stdout + done.stderr

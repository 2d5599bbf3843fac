"""What ``import vitfaith`` computes of images in memory is, bit for bit, what the stages store of the same images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import timm
import torch

import vitfaith as vf
from tests.workflow.conftest import Workflow
from vitfaith.artifacts.attacked import read_images, shard_of
from vitfaith.artifacts.images import decode_images
from vitfaith.artifacts.maps import read_maps, read_raw_maps
from vitfaith.artifacts.samples import read_denoised
from vitfaith.artifacts.schemas import CURVES, SCORES, SMOOTHED_PREDICTIONS
from vitfaith.artifacts.store import read_table
from vitfaith.models.checkpoint import read_checkpoint
from vitfaith.models.classifier import Classifier
from vitfaith.study.load import load_study

EXPLAINERS = {"random": "random", "rollout": "attention_rollout", "transformer_mm": "transformer_mm"}
METRICS: dict[str, Any] = {"saco": ("saco", {"groups": [7]}), "deletion_auc": "deletion_auc"}


@pytest.fixture(scope="module")
def model(finished_study: Workflow) -> Classifier:
    section = load_study(finished_study.config).models["vit_patch4"]
    network = timm.create_model(section.timm, **section.arguments)
    checkpoint = read_checkpoint(finished_study.folder / "resources/models/vit_patch4.safetensors")
    network.load_state_dict(checkpoint.state)
    return vf.wrap(network, mean=checkpoint.description["mean"], std=checkpoint.description["std"])


def one(folder: Path, pattern: str) -> list[Path]:
    found = sorted(folder.glob(pattern))
    assert found
    return found


def images_of(workflow: Workflow, attack: str) -> tuple[torch.Tensor, pd.DataFrame]:
    path = one(workflow.folder, f"results/attack/dataset=tiny/model=vit_patch4/attack={attack}/*.parquet")[0]
    table = read_images(path, shard_of(path))
    return torch.from_numpy(decode_images(table, np.uint8, str(path)).copy()), table.to_pandas()


def assert_scores(workflow: Workflow, condition: str, found: vf.Evaluation) -> None:
    for name, schema in (("scores", SCORES), ("curves", CURVES)):
        own = getattr(found, name).drop(columns="target", errors="ignore")  # a study has it with the images
        tables = [
            read_table(path, schema).to_pandas()
            for path in one(
                workflow.folder, f"results/{name}/{condition}/explained=clean_prediction/family=*/*.parquet"
            )
        ]
        keys = [c for c in ("image_id", "method", "metric", "curve", "variant", "step") if c in own]
        expected = pd.concat(tables).sort_values(keys, ignore_index=True)
        pd.testing.assert_frame_equal(own.sort_values(keys, ignore_index=True), expected, check_exact=True)


@pytest.mark.parametrize("attack", ["clean", "pgd"])
def test_maps_and_scores(finished_study: Workflow, model: Classifier, attack: str) -> None:
    pixels, rows = images_of(finished_study, attack)
    target, ids = torch.tensor(rows["target"].to_numpy()), list(rows["image_id"])
    maps = vf.explain(model, pixels, EXPLAINERS, target=target, image_ids=ids, seed=7)
    condition = f"dataset=tiny/model=vit_patch4/attack={attack}/smoothing=none"
    stored: dict[str, Any] = {}
    for path in one(
        finished_study.folder, f"results/attribute/{condition}/explained=clean_prediction/family=*/*.parquet"
    ):
        stored |= read_maps(path)
    assert set(stored) == set(maps)
    for method, (owners, values) in stored.items():
        assert owners == ids
        assert np.array_equal(maps[method].numpy(), values)
    assert_scores(finished_study, condition, vf.evaluate(model, pixels, maps, METRICS))


def test_attack(finished_study: Workflow, model: Classifier) -> None:
    clean, rows = images_of(finished_study, "clean")
    attacked, expected = images_of(finished_study, "pgd")
    ids = list(rows["image_id"])
    found = vf.attack(model, clean, "pgd", eps="8/255", alpha="4/255", steps=2, image_ids=ids, seed=7)
    assert torch.equal(found.images, attacked.float() / 255)
    assert found.target.tolist() == rows["target"].tolist()
    for column in ("prediction", "success", "linf", "l2"):
        assert np.array_equal(getattr(found, column).numpy(), expected[column].to_numpy())


@pytest.mark.parametrize("attack", ["clean", "pgd"])
def test_behind_a_smoothing(finished_study: Workflow, model: Classifier, attack: str) -> None:
    pixels, rows = images_of(finished_study, attack)
    target, ids = torch.tensor(rows["target"].to_numpy()), list(rows["image_id"])
    denoiser = vf.load_denoiser(finished_study.folder / "resources/denoisers/fashion_mnist")
    smoothed = vf.smooth(model, pixels, "dds", denoiser=denoiser, sigma=0.25, samples=2, image_ids=ids, seed=7)
    owner = "shared" if attack == "clean" else "vit_patch4"
    path = one(
        finished_study.folder, f"results/denoise/dataset=tiny/model={owner}/attack={attack}/smoothing=dds/*.parquet"
    )
    assert np.array_equal(smoothed.samples.numpy(), read_denoised(path[0], ids))
    condition = f"dataset=tiny/model=vit_patch4/attack={attack}/smoothing=dds"
    predictions = one(finished_study.folder, f"results/predictions/{condition}/*.parquet")[0]
    expected = read_table(predictions, SMOOTHED_PREDICTIONS).to_pandas()
    found = smoothed.predict(target=target, labels=rows["label"].to_numpy())
    pd.testing.assert_frame_equal(found, expected, check_exact=True, check_dtype=False)
    maps = smoothed.explain(EXPLAINERS, target=target)
    for file in one(
        finished_study.folder, f"results/attribute/{condition}/explained=clean_prediction/family=*/*.parquet"
    ):
        for method, (_, values) in read_maps(file).items():
            assert np.array_equal(maps[method].numpy(), values)
        means = read_raw_maps(file)
        assert means is not None
        for method, (_, values) in means.items():
            assert np.array_equal(maps.raw[method].numpy(), values)
    assert_scores(finished_study, condition, vf.evaluate(model, pixels, maps, METRICS))


def test_stability(finished_study: Workflow, model: Classifier) -> None:
    found = {}
    for attack in ("clean", "pgd"):
        pixels, rows = images_of(finished_study, attack)
        ids, target = list(rows["image_id"]), torch.tensor(rows["target"].to_numpy())
        found[attack] = vf.explain(model, pixels, EXPLAINERS, target=target, image_ids=ids, seed=7)
    table = vf.compare_maps(found["pgd"], found["clean"], "top_k_overlap")
    expected = vf.read(
        finished_study.folder / "results", "stability", attack="pgd", smoothing="none", reference="clean"
    )
    keys = ["method", "variant", "image_id"]
    table, expected = (t.sort_values(keys, ignore_index=True)[[*keys, "value", "flag"]] for t in (table, expected))
    pd.testing.assert_frame_equal(table, expected, check_exact=True)


def test_leaderboard(finished_study: Workflow) -> None:
    results = finished_study.folder / "results"
    board = vf.leaderboard(vf.read(results), resamples=200, seed=7)
    summary = vf.read(results, "summary", reference="")
    keys = ["dataset", "model", "attack", "smoothing", "method", "metric", "variant"]
    columns = [*keys, "n", "flagged", "mean", "low", "high", "sd"]
    board, summary = (t.sort_values(keys, ignore_index=True)[columns] for t in (board, summary))
    pd.testing.assert_frame_equal(board, summary, check_exact=True, check_dtype=False)

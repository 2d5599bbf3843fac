"""The stages explain and score the class that a specification means, bit for bit as the functions below them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from tests.files import IDS, ShardOnDisk
from vitfaith.artifacts.maps import read_explained, read_maps
from vitfaith.artifacts.predictions import prediction_table
from vitfaith.artifacts.schemas import IMAGES, PREDICTIONS
from vitfaith.artifacts.store import read_table, write_table
from vitfaith.artifacts.tensors import image_tensor
from vitfaith.errors import InputError
from vitfaith.explainers.explain import explain
from vitfaith.explainers.registry import EXPLAINERS
from vitfaith.models.load import load_classifier
from vitfaith.stages.attribute import run_attribute

PREDICTED = [4, 4, 0, 1, 2]


def attribute(shard: ShardOnDisk, explained: str, **files: object) -> dict[str, np.ndarray]:
    model = {name: value for name, value in shard.settings.items() if name != "weights"}
    spec = {"seed": 0, "model": model, "smoothing": {"use": "none"}, "methods": {"s": {"use": "saliency"}}}
    out = shard.folder / f"{explained}.parquet"
    run_attribute(
        spec | {"explained": explained}, "", shard.folder / "images.parquet", None, shard.folder / "weights.safetensors", out,
        device="cpu", batch_size=8, **files,
    )  # fmt: skip
    return {"map": read_maps(out)["s"][1], "target": read_explained(out)["s"]}


def test_maps_explain_the_class_that_is_meant(shard: ShardOnDisk) -> None:
    probabilities = torch.nn.functional.one_hot(torch.tensor(PREDICTED), 5).float()[:, None]
    table = prediction_table(IDS, np.zeros(5, int), np.zeros(5, int), probabilities)
    write_table(table, shard.folder / "p.parquet", PREDICTIONS, {})
    images = read_table(shard.folder / "images.parquet", IMAGES)
    model = {name: value for name, value in shard.settings.items() if name != "weights"}
    classifier = load_classifier(model, shard.folder / "weights.safetensors", "cpu")
    pixels = image_tensor(images, "", "cpu")
    for explained, classes in {
        "clean_prediction": images.column("target").to_pylist(),
        "prediction": PREDICTED,
        "class_2": [2] * 5,
    }.items():
        found = attribute(shard, explained, predictions=shard.folder / "p.parquet")
        assert found["target"].tolist() == classes
        methods = EXPLAINERS.from_specs({"s": {"use": "saliency"}})
        expected = explain(classifier, pixels, torch.tensor(classes), IDS, methods, seed=0, batch_size=8)["s"]
        assert np.array_equal(found["map"], expected.numpy())


def test_a_class_that_the_model_does_not_have(shard: ShardOnDisk) -> None:
    with pytest.raises(InputError, match=r"targets lie in \[5, 5\], but the model has classes 0 to 4"):
        attribute(shard, "class_5")


def test_scores_and_bank_read_the_probability_of_the_explained_class(shard: ShardOnDisk) -> None:
    table = read_table(shard.folder / "images.parquet", IMAGES)
    shard.metrics = {"deletion_auc": {}, "infidelity": {}}
    shard.targets = ["class_2"]
    own = shard.score(bank=shard.bank())
    two = table.set_column(table.column_names.index("target"), IMAGES.field("target"), [np.full(5, 2, np.int32)])
    write_table(two, shard.folder / "images.parquet", IMAGES, {})
    shard.targets = ["clean_prediction"]
    pd.testing.assert_frame_equal(own, shard.score(bank=shard.bank()), check_exact=True)

"""The heads in resources/shapley: each belongs to the shipped weights of its model, and that of nine cells is close to exact values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tools.vit_shapley import errors, values_of_sets, weights

from vitfaith.datasets.opening import open_source
from vitfaith.explainers.explain import explain
from vitfaith.explainers.registry import EXPLAINERS
from vitfaith.explainers.shapley.files import check_trained_for, load_shapley
from vitfaith.models.load import load_classifier
from vitfaith.study.load import load_study, read_yaml

ROOT = Path(__file__).resolve().parents[3]
FILES = sorted((ROOT / "resources" / "shapley").glob("*.safetensors"))
STUDY_OF = {"vit_grid_3x3": "grid.yaml", "vit_patch4": "config.yaml", "vit_patch2": "config.yaml"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_head_belongs_to_the_shipped_model_and_is_small(file: Path) -> None:
    study = load_study(read_yaml(ROOT / "config" / STUDY_OF[file.stem]))
    section = study.models[file.stem]
    classifier = load_classifier(section.spec(), Path(str(section.weights)), "cpu")
    check_trained_for(file, classifier)
    (recipe,) = (
        found for item in study.explainers.values() if (found := getattr(item.parameters, "training", None)) is not None
        and file.stem in getattr(found, "surrogates", {})
    )  # fmt: skip
    assert load_shapley(file, classifier)[1].fill == recipe.fill
    assert file.stat().st_size < 700_000


def test_values_of_nine_cells_are_close_to_exact_ones() -> None:
    """All 512 sets of 16 grids; the page measures more of them."""
    study = load_study(read_yaml(ROOT / "config" / "grid.yaml"))
    section, file = study.models["vit_grid_3x3"], ROOT / "resources" / "shapley" / "vit_grid_3x3.safetensors"
    classifier = load_classifier(section.spec(), Path(str(section.weights)), "cpu")
    source = open_source(study.datasets["grid_3x3"][0].spec())
    images = torch.from_numpy(source.read(np.arange(16))).float() / 255
    targets, ids = torch.from_numpy(source.labels[:16]), source.image_ids[:16]
    head = {"head": EXPLAINERS.item("vit_shapley", weights=file)}
    found = explain(classifier, images, targets, ids, head, seed=0, batch_size=16)["head"]
    _, game = load_shapley(file, classifier)
    truth = values_of_sets(game, classifier, images, targets) @ weights(9)[1].T
    missed, explained, correlation = errors(found, truth)
    assert missed < 0.01
    assert explained > 0.85
    assert correlation > 0.8
    regression = {"regression": EXPLAINERS.item("kernel_shap", fill=game.fill)}
    oracle = explain(game.surrogate, images, targets, ids, regression, seed=0, batch_size=512)["regression"]
    torch.testing.assert_close(oracle.flatten(1).double(), truth, atol=1e-5, rtol=1e-4)

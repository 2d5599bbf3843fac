"""ViT-Shapley in a study: what its training depends on, what is wrong with a recipe, and the job from images to maps."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.conftest import tiny_vit
from vitfaith.artifacts.store import read_any
from vitfaith.check.counting import attribute_passes, small_vit
from vitfaith.errors import ConfigError
from vitfaith.explainers.shapley.files import check_trained_for, load_shapley, rounded
from vitfaith.models.classifier import save_classifier
from vitfaith.stages import train_shapley as stage
from vitfaith.study.identity import spec_of
from vitfaith.study.inputs import reads, trained_networks
from vitfaith.study.learned import model_files, trainings
from vitfaith.study.load import load_study, read_yaml
from vitfaith.study.plan import Plan
from vitfaith.study.promised import promised_files
from vitfaith.study.work import passes

ROOT = Path(__file__).resolve().parents[3]
PLACE = {"explainer": "vit_shapley", "model": "vit_patch4"}


def configuration() -> dict[str, Any]:
    raw = copy.deepcopy(read_yaml(ROOT / "config" / "tiny.yaml"))
    own = {"train_on": "tiny", "test_on": "tiny"}
    raw["models"]["taught"] = copy.deepcopy(raw["models"]["vit_patch4"]) | {
        "weights": "trained",
        "maps_of": "vit_patch4",
        "training": own | {"removal": {"fill": "image_mean"}},
    }
    raw["explainers"]["vit_shapley"] = {
        "weights": "trained",
        "training": own | {"surrogates": {"vit_patch4": "taught"}},
    }
    raw["experiments"]["tiny"] |= {"datasets": ["tiny"], "models": ["vit_patch4", "taught"]}
    return raw


def test_the_training_reads_model_and_surrogate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    plan = Plan(load_study(configuration()))
    spec = json.loads(spec_of(plan, "train_shapley", PLACE))
    assert spec["surrogate"] == plan.study.models["taught"].spec()
    assert spec["recipe"]["surrogates"] == {"vit_patch4": "taught"}
    found = {read.option: read.path for read in reads(plan, "train_shapley", PLACE)}
    assert found["surrogate"] == "results/train/classifier/taught.safetensors"
    assert found["weights"].endswith("vit_patch4.safetensors")
    file = "results/train/shapley/vit_shapley/vit_patch4.safetensors"
    assert model_files(plan, "vit_shapley", "vit_patch4") == {"weights": file}
    assert file in promised_files(plan)
    assert file in trained_networks(plan)
    assert not any("vit_shapley/taught" in name for name in trained_networks(plan))
    assert trainings(plan, "tiny") == []  # the figure of DiffMask trainings is not of this one


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"surrogates": {"vit_patch4": "nobody"}}, r"training\.surrogates: 'nobody' is not in section models"),
        (
            {"fill": "black"},
            r"training\.fill: 'black' hides patches, and the surrogate 'taught' was trained with 'image_mean'",
        ),
    ],
)
def test_wrong_recipes(change: dict[str, Any], text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    raw = configuration()
    raw["explainers"]["vit_shapley"]["training"] |= change
    with pytest.raises(ConfigError, match=text):
        load_study(raw)


def test_a_model_without_a_surrogate_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    raw = configuration()
    raw["explainers"]["vit_shapley"]["training"]["surrogates"] = {}
    with pytest.raises(ConfigError, match="nothing for model 'vit_patch4'; add 'vit_patch4: ID'"):
        spec_of(Plan(load_study(raw)), "train_shapley", PLACE)


def test_models_that_only_answer_for_masked_images_are_not_crossed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    raw = configuration()
    del raw["experiments"]["tiny"]["models"]
    others = [name for name in raw["models"] if name != "taught"]
    assert load_study(raw).experiments["tiny"].models == [*others, "taught"]  # it scores the maps of another model
    del raw["models"]["taught"]["maps_of"]
    assert load_study(raw).experiments["tiny"].models == others
    raw["explainers"]["vit_shapley"]["training"]["surrogates"]["taught"] = "taught"  # explained itself
    assert load_study(raw).experiments["tiny"].models == [*others, "taught"]


def test_the_plan_counts_the_shared_forward_and_two_of_the_surrogate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    raw = configuration()
    plan = Plan(load_study(raw))
    place = {"dataset": "tiny", "model": "vit_patch4", "attack": "clean", "smoothing": "none"}
    place |= {"explained": "clean_prediction", "family": "learned"}
    assert passes(plan, "attribute", place) == pytest.approx(3 * 49 / 196 * 64 * 6 / (768 * 12))
    methods = {"vit_shapley": plan.study.explainers["vit_shapley"].spec()}
    counted = {"smoothing": {"use": "none"}, "methods": methods}
    twin = small_vit((1, 8, 8), (4, 4), 10)
    assert attribute_passes(counted, twin) == (3, 0)
    optimised = {"use": "diffmask_per_image", "steps": 2, "placeholder": "some.safetensors"}
    alone, with_file = (
        attribute_passes(counted | {"methods": {"a": found}}, twin)
        for found in (optimised | {"placeholder": None}, optimised)
    )
    assert alone == with_file
    assert alone[1] == 2


def test_the_job_writes_a_head_that_belongs_to_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (16, 3, 16, 16), dtype=np.uint8)
    monkeypatch.setattr(stage, "training_set", lambda _spec, _part, shape: (pixels, np.arange(16) % 5))
    arguments = {"img_size": 16, "patch_size": 4, "embed_dim": 24, "depth": 3, "num_heads": 3, "mlp_ratio": 2.0}
    model = {"timm": "vit_tiny_patch16_224", "arguments": arguments | {"num_classes": 5}}
    told = {"mean": [0.5] * 3, "std": [0.25] * 3}
    for name, seed in (("own", 0), ("taught", 1)):
        save_classifier(tiny_vit(seed=seed), tmp_path / f"{name}.safetensors", model | told)
    recipe = {"surrogates": {"m": "taught"}, "epochs": 2, "batch_size": 8, "sets": 2}
    spec = {"model": model, "surrogate": model, "recipe": recipe, "train_on": {}, "test_on": {}}
    out, log = tmp_path / "out" / "m.safetensors", tmp_path / "out" / "m.log.parquet"
    weights = tmp_path / "own.safetensors", tmp_path / "taught.safetensors"
    stage.run_train_shapley(spec, "code", *weights, out, log, "cpu")
    classifier = tiny_vit()
    check_trained_for(out, classifier)
    head, game = load_shapley(out, classifier)
    assert game.fill == "image_mean"
    images = torch.from_numpy(pixels[:2]).float() / 255
    assert torch.equal(game.surrogate(images), rounded(tiny_vit(seed=1))(images))  # what the head was trained for
    torch.testing.assert_close(game.surrogate(images), tiny_vit(seed=1)(images), atol=5e-3, rtol=5e-3)
    assert head.classes == 5
    assert read_any(log).column_names[-2:] == ["test_loss", "test_explained"]
    assert (out.parent / ".m.json").is_file()
    assert not list(out.parent.glob("*.progress*"))
    file, other = tmp_path / "other.safetensors", model | {"arguments": arguments | {"num_classes": 7}}
    save_classifier(tiny_vit(num_classes=7), file, other | told)
    with pytest.raises(ConfigError, match="the surrogate takes"):
        stage.run_train_shapley(spec | {"surrogate": other}, "code", weights[0], file, out, log, "cpu")

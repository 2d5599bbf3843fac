"""Distillation: the loss, a pupil that learns from its teacher alone, resuming, and the job's place in a study."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from tests.models.training.test_train import ARCHITECTURE, ARGUMENTS, two_classes
from vitfaith.artifacts.store import read_any
from vitfaith.errors import ConfigError
from vitfaith.models.classifier import Classifier
from vitfaith.models.training.classifier import distillation_loss, train_classifier
from vitfaith.models.training.recipe import ClassifierRecipe
from vitfaith.stages import train_classifier as stage
from vitfaith.study.identity import spec_of
from vitfaith.study.inputs import reads
from vitfaith.study.load import load_study, read_yaml
from vitfaith.study.plan import Plan

ROOT = Path(__file__).resolve().parents[3]
RECIPE = {"epochs": 12, "batch_size": 16, "learning_rate": 3e-3, "shift": 0, "ema_decay": 0.9}


def test_the_loss_by_hand() -> None:
    """Probabilities 1/2, 1/2 of a teacher and 3/4, 1/4 of a pupil."""
    taught, own = torch.zeros(1, 2), torch.tensor([[math.log(3.0), 0.0]])
    divergence = 0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25)
    assert float(distillation_loss(own, taught, 1.0)) == pytest.approx(divergence)
    assert float(distillation_loss(2 * own, 2 * taught, 2.0)) == pytest.approx(4 * divergence)
    both = distillation_loss(torch.cat([own, taught]), torch.cat([taught, taught]), 1.0)
    assert float(both) == pytest.approx(divergence / 2)  # a mean over images
    assert float(distillation_loss(own, own, 3.0)) == pytest.approx(0.0, abs=1e-7)


class Opposite(torch.nn.Module):
    """Surely the other class: a dark upper half is class 0, against the labels of ``two_classes``."""

    num_classes, num_prefix_tokens = 2, 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        upper, lower = images[:, 0, :4].mean((1, 2)), images[:, 0, 4:].mean((1, 2))
        return 50 * torch.stack([lower - upper, upper - lower], 1)


def opposite() -> Classifier:
    return Classifier(Opposite(), [0.0], [1.0], input_size=(8, 8)).eval()


def accuracy(**recipe: Any) -> float:
    data = two_classes(256)
    settings = ClassifierRecipe(**RECIPE, teacher="opposite", **recipe)
    _, log = train_classifier(ARCHITECTURE, ARGUMENTS, data, data, settings, seed=1, teacher=opposite())
    return float(log[-1]["test_accuracy"])


def test_the_share_decides_between_teacher_and_labels() -> None:
    assert accuracy(teacher_share=1.0) < 0.05
    assert accuracy(teacher_share=0.05) > 0.95


def test_a_killed_training_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    data = two_classes(32)
    recipe = ClassifierRecipe(epochs=3, batch_size=8, shift=1, ema_decay=0.9, erasing=0.5, teacher="t")

    class Killed(Opposite):
        left = 9  # in the third epoch of four steps each

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            if self.left == 0:
                raise KeyboardInterrupt
            self.left -= 1
            return super().forward(images)

    def train(backbone: torch.nn.Module, checkpoint: Path) -> dict[str, torch.Tensor]:
        teacher = Classifier(backbone, [0.0], [1.0], input_size=(8, 8)).eval()
        trained, _ = train_classifier(
            ARCHITECTURE, ARGUMENTS, data, data, recipe, seed=0, teacher=teacher, checkpoint=checkpoint
        )
        return trained.backbone.state_dict()

    whole = train(Opposite(), tmp_path / "a.safetensors")
    with pytest.raises(KeyboardInterrupt):
        train(Killed(), tmp_path / "b.safetensors")
    resumed = train(Opposite(), tmp_path / "b.safetensors")
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())


def test_a_teacher_that_does_not_fit() -> None:
    data = two_classes(16)
    other = Classifier(Opposite(), [0.0], [1.0], input_size=(9, 8)).eval()
    with pytest.raises(
        ConfigError, match=r"the teacher 't' takes \(1, 9, 8\) and has 2 classes, the model takes \(1, 8, 8\)"
    ):
        train_classifier(ARCHITECTURE, ARGUMENTS, data, data, ClassifierRecipe(teacher="t"), seed=0, teacher=other)


@pytest.mark.parametrize("key", ["teacher_share", "temperature"])
def test_settings_without_a_teacher(key: str) -> None:
    with pytest.raises(ValidationError, match=f"{key} belongs to distillation; name a model in teacher"):
        ClassifierRecipe(**{key: 0.7})


def configuration(**training: Any) -> dict[str, Any]:
    raw = copy.deepcopy(read_yaml(ROOT / "config" / "tiny.yaml"))
    sets = {"train_on": "tiny", "test_on": "tiny"}
    raw["models"]["pupil"] = raw["models"]["vit_patch4"] | {"weights": "trained", "training": sets | training}
    raw["experiments"]["tiny"] |= {"datasets": ["tiny"], "models": ["vit_patch4", "pupil"]}
    return raw


def test_a_training_depends_on_its_teacher(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    raw = configuration(teacher="vit_patch4")
    plan, wildcards = Plan(load_study(raw)), {"name": "pupil"}
    spec = json.loads(spec_of(plan, "train_classifier", wildcards))
    assert spec["teacher"] == plan.study.models["vit_patch4"].spec()
    assert set(spec["contents"]) >= {"teacher"}
    (read,) = reads(plan, "train_classifier", wildcards)
    assert read.option == "teacher"
    assert read.path.endswith("vit_patch4.safetensors")
    assert read.files == (read.path,)

    raw["models"]["vit_patch4"] |= {"weights": "trained", "training": {"train_on": "tiny", "test_on": "tiny"}}
    (read,) = reads(Plan(load_study(raw)), "train_classifier", wildcards)
    assert read.path == "results/train/classifier/vit_patch4.safetensors"

    alone = Plan(load_study(configuration()))
    assert reads(alone, "train_classifier", wildcards) == []
    assert "teacher" not in json.loads(spec_of(alone, "train_classifier", wildcards))


def test_wrong_teachers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(
        ConfigError, match=r"models\.pupil\.training\.teacher: 'vit_patch5' is not in section models.*vit_patch4"
    ):
        load_study(configuration(teacher="vit_patch5"))
    with pytest.raises(ConfigError, match="pupil learns from pupil; no order of trainings does that"):
        load_study(configuration(teacher="pupil"))
    raw = configuration(teacher="vit_patch4")
    raw["models"]["vit_patch4"] |= {
        "weights": "trained",
        "training": {"train_on": "tiny", "test_on": "tiny", "teacher": "pupil"},
    }
    with pytest.raises(ConfigError, match="vit_patch4 learns from pupil learns from vit_patch4"):
        load_study(raw)


def test_the_job_learns_from_the_weights_it_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = two_classes(256)
    monkeypatch.setattr(stage, "training_set", lambda _spec, _part: data)
    model = {"timm": ARCHITECTURE, "arguments": ARGUMENTS}
    spec: dict[str, Any] = {"model": model, "recipe": RECIPE, "train_on": {}, "test_on": {}}
    teacher, pupil = tmp_path / "teacher.safetensors", tmp_path / "pupil.safetensors"
    stage.run_train_classifier(spec, "code", teacher, tmp_path / "t.parquet", "cpu")
    spec = spec | {"teacher": model, "recipe": RECIPE | {"teacher": "t", "teacher_share": 1.0}}
    labels = np.roll(data[1], 1)  # all wrong, and without a say
    monkeypatch.setattr(stage, "training_set", lambda _spec, part: data if part == "test_on" else (data[0], labels))
    stage.run_train_classifier(spec, "code", pupil, tmp_path / "p.parquet", "cpu", teacher)
    assert read_any(tmp_path / "p.parquet")["test_accuracy"].to_pylist()[-1] > 0.9
    assert not pupil.with_name(".pupil.progress.safetensors").exists()

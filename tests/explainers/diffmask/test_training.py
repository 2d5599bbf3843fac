"""Training: what a step costs, where λ goes, that it repeats and resumes bit for bit, and what it leaves behind."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.conftest import tiny_vit
from tests.explainers.diffmask.conftest import RECIPE
from vitfaith.errors import ArtifactError, ConfigError, VitfaithError
from vitfaith.explainers.diffmask import train as training
from vitfaith.explainers.diffmask.hard_concrete import HardConcrete
from vitfaith.explainers.diffmask.network import DiffMask, new_diffmask
from vitfaith.explainers.diffmask.passes import clean_pass, masked_pass
from vitfaith.explainers.diffmask.recipe import OFFICIAL, DiffMaskRecipe
from vitfaith.explainers.diffmask.steps import OfficialStep, SharedStep, explained_classes, objective
from vitfaith.explainers.diffmask.train import train_diffmask
from vitfaith.models.classifier import Classifier
from vitfaith.models.passes import PassCounter

Pictures = NDArray[np.uint8]
RELEASED = RECIPE.model_copy(update={**OFFICIAL, "warmup": 5, "learning_rate": 1e-3})
FIXED = RECIPE.model_copy(update={"placeholder": "mean_colour"})


def equal(one: DiffMask, other: DiffMask) -> bool:
    mine, theirs = one.state_dict(), other.state_dict()
    return all(torch.equal(mine[name], theirs[name]) for name in mine)


def fresh(classifier: Classifier, beta: float, **options: Any) -> DiffMask:
    return new_diffmask(
        classifier, distribution=HardConcrete(), beta=beta, generator=torch.Generator().manual_seed(0), **options
    )


def test_masks_shrink_until_they_cost_the_margin(sharp: Classifier, pictures: Pictures) -> None:
    recipe = RECIPE.model_copy(update={"steps": 200, "epochs": 67, "seed": 2})
    _, log = train_diffmask(sharp, pictures, pictures, recipe)
    assert log[0]["kept_share"] > 0.8
    assert log[-1]["test_kept_share"] < 0.75
    assert np.mean([row["kl"] for row in log[-10:]]) == pytest.approx(recipe.margin, abs=0.1)
    assert log[-1]["test_kl"] < 2 * recipe.margin
    assert [row["step"] for row in log] == list(range(5, 201, 5))
    assert [row["step"] for row in log if row["test_kl"] is not None] == list(range(10, 201, 10))


def test_a_step_of_dual_ascent_costs_two_forwards_and_one_backward(vit: Classifier, images: torch.Tensor) -> None:
    for class_specific in (False, True):
        step = SharedStep(vit, fresh(vit, 2.0, class_specific=class_specific), RECIPE, 10)
        with PassCounter(vit.backbone) as passes:
            step(images, 0)
        assert (passes.forwards, passes.backwards) == (10, 5)


def test_a_batch_of_the_released_rule_costs_four_forwards(vit: Classifier, images: torch.Tensor) -> None:
    step = OfficialStep(vit, fresh(vit, 2.0), RELEASED)
    with PassCounter(vit.backbone) as passes:
        step(images, 0)
    assert (passes.forwards, passes.backwards) == (20, 5)


@pytest.mark.parametrize(("beta", "violated"), [(-3.0, True), (20.0, False)])
def test_where_the_multiplier_goes(sharp: Classifier, pictures: Pictures, beta: float, violated: bool) -> None:
    """Everything masked violates the constraint, everything kept leaves it slack; the released rule errs both times."""
    images = torch.from_numpy(pictures[:16]).float() / 255
    recipe = RECIPE.model_copy(update={"multiplier": 3.0})
    ascent = SharedStep(sharp, fresh(sharp, beta), recipe, 100)
    assert (float(ascent(images, 0)["kl"]) > recipe.margin) == violated
    assert (float(ascent.multiplier) > 3.0) == violated
    released = OfficialStep(sharp, fresh(sharp, beta), RELEASED)
    for step in range(6):
        released(images, step)
    assert (float(released.multiplier.detach().mean()) < 20.0) == violated
    assert released.multiplier.shape == (5,)


def test_ascent_is_the_formula_and_is_clipped(sharp: Classifier, pictures: Pictures) -> None:
    images = torch.from_numpy(pictures[:16]).float() / 255
    recipe = RECIPE.model_copy(update={"multiplier": 3.0, "multiplier_max": 3.05})
    step = SharedStep(sharp, fresh(sharp, 20.0), recipe, 100)
    kl = float(step(images, 0)["kl"])
    assert float(step.multiplier) == pytest.approx(3 + 0.3 * (kl - 0.1), abs=1e-6)
    step = SharedStep(sharp, fresh(sharp, -3.0), recipe, 100)
    step(images, 0)
    assert float(step.multiplier) == pytest.approx(3.05)


def test_objectives_against_a_loop(vit: Classifier, images: torch.Tensor) -> None:
    network = fresh(vit, 1.0)
    u = network.locations(clean_pass(vit, images)[1]).detach()
    kept = logs = 0.0
    for image in u:
        for patch in range(image.shape[1]):
            chances = [float(torch.sigmoid(gate[patch] + network.distribution.shift)) for gate in image]
            kept += float(np.prod(chances)) / (len(u) * image.shape[1])
            logs += float(np.log(chances).sum()) / (len(u) * image.shape[1])
    assert float(objective(network, u, "expected_l0")) == pytest.approx(kept, rel=1e-4)
    assert float(objective(network, u, "log_probability")) == pytest.approx(logs, rel=1e-4)


def test_classes_of_training_are_the_predicted_ones_for_half() -> None:
    clean = torch.randn(400, 10, generator=torch.Generator().manual_seed(0))
    share = float((explained_classes(clean, 0, 0) == clean.argmax(1)).float().mean())
    assert share == pytest.approx(0.55, abs=0.08)
    assert torch.equal(explained_classes(clean, 0, 0), explained_classes(clean, 0, 0))
    assert not torch.equal(explained_classes(clean, 0, 0), explained_classes(clean, 0, 1))


@pytest.mark.parametrize("recipe", [RECIPE, RELEASED, FIXED], ids=["dual_ascent", "official", "mean_colour"])
def test_it_repeats_and_resumes_bit_for_bit(
    sharp: Classifier, pictures: Pictures, recipe: DiffMaskRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed right after its second checkpoint, in the middle of an epoch, and started again."""
    recipe = recipe.model_copy(update={"checkpoint_every": 10, "patience": 50})
    whole, log = train_diffmask(sharp, pictures, pictures, recipe)
    path, saved = tmp_path / "progress.safetensors", []
    save = training.save_progress

    def killed(*arguments: Any) -> None:
        save(*arguments)
        saved.append(arguments[-1].step)
        if len(saved) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(training, "save_progress", killed)
    with pytest.raises(KeyboardInterrupt):
        train_diffmask(sharp, pictures, pictures, recipe, checkpoint=path)
    assert saved == [10, 20]
    resumed, second = train_diffmask(sharp, pictures, pictures, recipe, checkpoint=path)
    assert saved == [10, 20, 30]
    assert equal(whole, resumed)
    assert second == log
    assert path.exists(), "removed before the network is saved"


def test_a_checkpoint_of_other_settings_or_a_broken_one(sharp: Classifier, pictures: Pictures, tmp_path: Path) -> None:
    path = tmp_path / "progress.safetensors"
    recipe = RECIPE.model_copy(update={"steps": 20, "checkpoint_every": 10})
    train_diffmask(sharp, pictures, pictures, recipe, checkpoint=path)
    assert path.is_file()
    other = recipe.model_copy(update={"seed": 1})
    found, log = train_diffmask(sharp, pictures, pictures, other, checkpoint=path)
    assert log[0]["step"] == 5
    assert equal(found, train_diffmask(sharp, pictures, pictures, other)[0])
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(ArtifactError, match=r"cannot be resumed from.*delete it"):
        train_diffmask(sharp, pictures, pictures, recipe, checkpoint=path)


def test_the_classifier_is_left_as_it_was(pictures: Pictures) -> None:
    classifier = tiny_vit().requires_grad_(True)
    classifier.train()
    weights = copy.deepcopy(classifier.backbone.state_dict())
    with torch.no_grad():
        train_diffmask(classifier, pictures, pictures, RECIPE.model_copy(update={"steps": 5}))
    assert all(module.training for module in classifier.modules())
    assert all(p.requires_grad and p.grad is None for p in classifier.parameters())
    assert all(torch.equal(weights[k], v) for k, v in classifier.backbone.state_dict().items())
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in classifier.modules()]
    assert sum(hooks) == 0


def test_early_stop_waits_for_a_kept_share_that_no_longer_falls(sharp: Classifier, pictures: Pictures) -> None:
    recipe = RECIPE.model_copy(update={"steps": 400, "epochs": 200, "patience": 2})
    _, log = train_diffmask(sharp, pictures, pictures, recipe)
    looks = [row for row in log if row["test_kl"] is not None]
    assert log[-1]["step"] < 400
    best = min(row["test_kept_share"] for row in looks if row["test_kl"] <= recipe.margin)
    assert all(row["test_kept_share"] > best or row["test_kl"] > recipe.margin for row in looks[-2:])


def test_bfloat16_passes_train_too(sharp: Classifier, pictures: Pictures) -> None:
    network, log = train_diffmask(sharp, pictures, pictures, RECIPE.model_copy(update={"precision": "bfloat16"}))
    assert all(value.dtype == torch.float32 and torch.isfinite(value).all() for value in network.state_dict().values())
    assert log[-1]["test_kl"] < 1


def test_divergence_names_its_step(sharp: Classifier, pictures: Pictures, monkeypatch: pytest.MonkeyPatch) -> None:
    run = SharedStep.__call__

    def broken(self: SharedStep, images: torch.Tensor, step: int) -> dict[str, torch.Tensor]:
        return run(self, images * (float("nan") if step == 7 else 1.0), step)

    monkeypatch.setattr(SharedStep, "__call__", broken)
    with pytest.raises(VitfaithError, match="diverged at step 7"):
        train_diffmask(sharp, pictures, pictures, RECIPE)


def test_too_few_images(sharp: Classifier, pictures: Pictures) -> None:
    with pytest.raises(ConfigError, match="batch_size is 16, but there are 3 images"):
        train_diffmask(sharp, pictures[:3], pictures, RECIPE)


@pytest.mark.parametrize("recipe", [RECIPE, RELEASED], ids=["dual_ascent", "official"])
def test_a_mean_colour_placeholder_stays_and_is_what_removed_pixels_become(
    sharp: Classifier, pictures: Pictures, recipe: DiffMaskRecipe
) -> None:
    fixed, log = train_diffmask(
        sharp, pictures, pictures, recipe.model_copy(update={"steps": 10, "placeholder": "mean_colour"})
    )
    assert log[-1]["gradient_norm"] > 0
    images = torch.from_numpy(pictures[:8]).float() / 255
    keep = (torch.rand(8, 16, generator=torch.Generator().manual_seed(0)) < 0.5).float()
    pixels = keep.unflatten(1, (1, 4, 4)).repeat_interleave(4, 2).repeat_interleave(4, 3)
    removed = torch.where(pixels > 0, images, sharp.mean)
    with torch.no_grad():
        expected = sharp(removed).log_softmax(1)
        found = masked_pass(sharp, images, keep, fixed.placeholder)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)

"""Fine-tuning starts from given weights, trains what it is told to, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import save_file
from timm.layers import resample_patch_embed

from tests.models.training.test_train import ARCHITECTURE, ARGUMENTS, two_classes
from vitfaith.denoisers.recipe import DenoiserRecipe
from vitfaith.denoisers.training import train_denoiser
from vitfaith.errors import ArtifactError, ConfigError
from vitfaith.models.classifier import build_backbone
from vitfaith.models.training.classifier import train_classifier
from vitfaith.models.training.fine_tuning import take_over
from vitfaith.models.training.recipe import ClassifierRecipe


@pytest.fixture
def start(tmp_path: Path) -> Path:
    """Weights of the tiny architecture, with a head of other classes."""
    torch.manual_seed(3)
    path = tmp_path / "start.safetensors"
    described = {"vitfaith": json.dumps({"mean": [0.4], "std": [0.2]})}
    save_file(build_backbone(ARCHITECTURE, {**ARGUMENTS, "num_classes": 7}).state_dict(), str(path), described)
    return path


def changed(start: Path, **recipe: object) -> dict[str, bool]:
    """Parameter → whether an epoch of training moved it from the weights it started from."""
    data = two_classes(32)
    settings = {"start_from": start, "epochs": 1, "batch_size": 8, "shift": 0, "ema_decay": 0.0, **recipe}
    trained, _ = train_classifier(ARCHITECTURE, ARGUMENTS, data, data, ClassifierRecipe(**settings), seed=0)
    before = build_backbone(ARCHITECTURE, ARGUMENTS)
    take_over(before, start)
    old = before.state_dict()
    assert trained.mean.item() == pytest.approx(0.4)
    assert trained.std.item() == pytest.approx(0.2)
    return {k: not torch.equal(v, old[k]) for k, v in trained.backbone.state_dict().items()}


def test_only_the_last_blocks_and_the_head_move(start: Path) -> None:
    moved = changed(start, trained_blocks=1)
    frozen = {k for k in moved if not k.startswith(("blocks.1.", "norm.", "head."))}
    assert frozen
    assert not any(moved[k] for k in frozen)
    assert all(moved[k] for k in moved if k not in frozen)
    assert all(changed(start).values())
    assert {k for k, v in changed(start, trained_blocks=0).items() if v} == {
        "norm.weight", "norm.bias", "head.weight", "head.bias"
    }  # fmt: skip


def test_rates_are_apart(start: Path) -> None:
    data = two_classes(8)
    recipe = ClassifierRecipe(
        start_from=start,
        epochs=1,
        batch_size=8,
        learning_rate=1e-2,
        start_learning_rate=1e-4,
        weight_decay=0,
        ema_decay=0,
    )
    trained, _ = train_classifier(ARCHITECTURE, ARGUMENTS, data, data, recipe, seed=0)
    before = build_backbone(ARCHITECTURE, ARGUMENTS)
    take_over(before, start)
    # Adam's first step moves each parameter by its learning rate
    step = (trained.backbone.state_dict()["norm.weight"] - before.state_dict()["norm.weight"]).abs().median()
    assert float(step) == pytest.approx(1e-4, rel=0.05)


def test_weights_of_other_sizes_and_architectures(tmp_path: Path, start: Path) -> None:
    larger = {**ARGUMENTS, "img_size": 16}
    grown = build_backbone(ARCHITECTURE, larger)
    take_over(grown, start)
    old = build_backbone(ARCHITECTURE, {**ARGUMENTS, "num_classes": 7}).state_dict()["pos_embed"].shape[1]
    assert grown.pos_embed.shape[1] == 17 > old
    with pytest.raises(ArtifactError, match="do not fit the model"):
        take_over(build_backbone(ARCHITECTURE, {**ARGUMENTS, "embed_dim": 24}), start)
    colour = build_backbone(ARCHITECTURE, {**ARGUMENTS, "in_chans": 3})
    path = tmp_path / "bare.safetensors"
    save_file(colour.state_dict(), str(path))
    assert take_over(colour, path) == (list(colour.pretrained_cfg["mean"]), list(colour.pretrained_cfg["std"]))
    with pytest.raises(ArtifactError):
        take_over(grown, tmp_path / "missing.safetensors")


def test_the_head_comes_along_where_it_is_kept(tmp_path: Path, start: Path) -> None:
    path = tmp_path / "whole.safetensors"
    torch.manual_seed(4)
    whole = build_backbone(ARCHITECTURE, ARGUMENTS)
    torch.nn.init.normal_(whole.head.weight)
    save_file(whole.state_dict(), str(path))
    fresh = build_backbone(ARCHITECTURE, ARGUMENTS)
    take_over(fresh, path, keep_head=True)
    assert all(torch.equal(v, fresh.state_dict()[k]) for k, v in whole.state_dict().items())
    with pytest.raises(ArtifactError, match="do not fit the model"):
        take_over(fresh, start, keep_head=True)
    with pytest.raises(ValidationError, match="keep_head belongs to fine-tuning"):
        ClassifierRecipe(keep_head=True)


def test_wrong_recipes(start: Path) -> None:
    with pytest.raises(ValidationError, match="belongs to fine-tuning"):
        ClassifierRecipe(trained_blocks=1)
    with pytest.raises(ConfigError, match="the model has 2 blocks"):
        changed(start, trained_blocks=3)


def test_a_denoiser_on_crops_takes_whole_images() -> None:
    images = np.random.default_rng(0).integers(0, 256, (16, 3, 24, 24), dtype=np.uint8)
    recipe = DenoiserRecipe(channels=(8, 8), epochs=1, batch_size=4, crop=8)
    network, _, log = train_denoiser(images, images, recipe, seed=0)
    again, _, _ = train_denoiser(images, images, recipe, seed=0)
    assert network(torch.zeros(1, 3, 24, 24), 3).sample.shape == (1, 3, 24, 24)
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), again.parameters(), strict=True))
    assert len(log) == 1
    with pytest.raises(ConfigError, match="crop is 32"):
        train_denoiser(images, images, DenoiserRecipe(crop=32), seed=0)


def test_other_patches_start_from_the_same_weights(tmp_path: Path) -> None:
    """Patches of half the side: embedding and position table are resized, all else is taken as it is."""
    torch.manual_seed(5)
    path, coarse = tmp_path / "coarse.safetensors", build_backbone(ARCHITECTURE, ARGUMENTS)
    save_file(coarse.state_dict(), str(path))
    fine = build_backbone(ARCHITECTURE, {**ARGUMENTS, "patch_size": 2})
    take_over(fine, path, keep_head=True)
    assert fine.patch_embed.proj.weight.shape[-2:] == (2, 2)
    assert fine.pos_embed.shape[1] == 17
    resized = resample_patch_embed(coarse.patch_embed.proj.weight.data, [2, 2])
    torch.testing.assert_close(fine.patch_embed.proj.weight.data, resized)
    assert torch.equal(fine.blocks[1].attn.qkv.weight, coarse.blocks[1].attn.qkv.weight)
    assert torch.equal(fine.head.weight, coarse.head.weight)

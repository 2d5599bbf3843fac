"""Training with some of the patches: how many tokens the blocks see, in which epochs, and what is left of it in the network."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from timm.layers.patch_dropout import PatchDropout

from tests.models.training.test_train import ARCHITECTURE, ARGUMENTS, two_classes
from vitfaith.errors import ConfigError
from vitfaith.models.classifier import build_backbone
from vitfaith.models.training.classifier import train_classifier
from vitfaith.models.training.patch_dropout import start_dropping, stop_dropping
from vitfaith.models.training.recipe import ClassifierRecipe

RECIPE = ClassifierRecipe(epochs=3, batch_size=8, shift=0, flip=False, ema_decay=0.9)


def tokens_of_steps(recipe: ClassifierRecipe, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Tokens that enter the blocks in each training step."""
    seen: list[int] = []

    def watched(architecture: str, arguments: dict[str, object]) -> torch.nn.Module:
        backbone = build_backbone(architecture, arguments)

        def note(block: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            if block.training:
                seen.append(inputs[0].shape[1])

        backbone.get_submodule("blocks.0").register_forward_pre_hook(note)
        return backbone

    monkeypatch.setattr("vitfaith.models.training.classifier.build_backbone", watched)
    trained, _ = train_classifier(ARCHITECTURE, ARGUMENTS, two_classes(32), two_classes(32), recipe, seed=0)
    assert not any(isinstance(layer, PatchDropout) for layer in trained.modules())
    return seen


@pytest.mark.parametrize(("whole", "expected"), [(1, [2] * 8 + [5] * 4), (0, [2] * 12), (3, [5] * 12), (5, [5] * 12)])
def test_the_last_epochs_see_all_patches(whole: int, expected: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = RECIPE.model_copy(update={"patch_dropout": 0.75, "whole_epochs": whole})
    assert tokens_of_steps(recipe, monkeypatch) == expected  # 4 patches and the class token; three epochs of four steps


def test_without_it_all_patches_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    assert tokens_of_steps(RECIPE, monkeypatch) == [5] * 12


def test_each_image_and_step_loses_other_patches_and_the_class_token_stays() -> None:
    backbone = build_backbone(ARCHITECTURE, ARGUMENTS).train()
    layer = start_dropping(backbone, 0.5)
    assert layer is not None
    tokens = torch.arange(17.0).expand(2, 17)[..., None].clone()
    torch.manual_seed(0)
    first, second = layer(tokens), layer(tokens)
    assert first.shape == (2, 9, 1)
    assert (first[:, 0] == 0).all()
    kept = [frozenset(image.flatten().tolist()) for step in (first, second) for image in step]
    assert len(set(kept)) == 4
    stop_dropping(backbone)
    assert not any(isinstance(module, PatchDropout) for module in backbone.modules())


def test_networks_that_cannot_drop_patches_are_refused() -> None:
    for architecture, arguments in [
        ("resnet10t", {"num_classes": 2}),
        (ARCHITECTURE, {**ARGUMENTS, "patch_drop_rate": 0.5}),
    ]:
        with pytest.raises(ConfigError, match="patch_dropout needs a timm VisionTransformer"):
            start_dropping(build_backbone(architecture, arguments), 0.5)


def test_whole_epochs_belong_to_patch_dropout() -> None:
    with pytest.raises(ValidationError, match="whole_epochs belongs to patch_dropout"):
        ClassifierRecipe(whole_epochs=2)

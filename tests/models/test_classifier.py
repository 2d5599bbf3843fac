"""The wrapper: normalisation inside, tokens counted, files checked."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch

from tests.conftest import tiny_vit
from vitfaith.errors import ArtifactError, ConfigError, InputError
from vitfaith.models.classifier import Classifier, build_backbone, frozen, save_classifier
from vitfaith.models.forward import forward_in_batches
from vitfaith.models.load import load_classifier
from vitfaith.models.passes import PassCounter

ARGUMENTS = {"img_size": 16, "patch_size": 4, "embed_dim": 24, "depth": 2, "num_heads": 3, "num_classes": 5}


def test_normalisation_is_inside(vit: Classifier, images: torch.Tensor) -> None:
    expected = vit.backbone((images - 0.5) / 0.25)
    assert torch.equal(vit(images), expected)


@pytest.mark.parametrize(
    ("overrides", "prefix"),
    [({}, 1), ({"class_token": False, "global_pool": "avg"}, 0), ({"reg_tokens": 4}, 5)],
)
def test_prefix_tokens_and_grid(overrides: dict[str, object], prefix: int) -> None:
    model = tiny_vit(**overrides)
    assert model.prefix_tokens == prefix
    assert model.grid == (4, 4)
    assert model.input_shape == (3, 16, 16)
    assert not any(p.requires_grad for p in model.parameters())


def test_half_precision_stops_at_the_weights(images: torch.Tensor) -> None:
    """Normalisation in bfloat16 would round 0.485 to 0.484, and pixels to 8 bits of mantissa."""
    backbone = build_backbone("vit_tiny_patch16_224", ARGUMENTS)
    model = Classifier(backbone, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]).eval()
    mean = model.mean.clone()
    half = copy.deepcopy(model).to(torch.bfloat16)
    assert torch.equal(half.mean, mean)
    assert half.mean.dtype == half.std.dtype == torch.float32
    seen: list[torch.Tensor] = []
    half.backbone.register_forward_pre_hook(lambda _m, args: seen.append(args[0]))
    logits = half(images)
    assert logits.dtype == seen[0].dtype == torch.bfloat16
    assert torch.equal(seen[0], ((images - mean) / model.std).bfloat16())
    assert torch.equal(half(images.bfloat16()), half(images.bfloat16().float()))
    assert half.float()(images).dtype == torch.float32
    assert model.double()(images).dtype == torch.float64


def test_forward_in_batches(vit: Classifier, images: torch.Tensor) -> None:
    assert torch.allclose(forward_in_batches(vit, images, 2), vit(images), atol=1e-5)
    assert forward_in_batches(vit, images[:0], 2).shape == (0, 5)
    with pytest.raises(InputError, match="batch_size is 0"):
        forward_in_batches(vit, images, 0)


def test_targets_are_checked(vit: Classifier, targets: torch.Tensor) -> None:
    vit.check_targets(targets, 5)
    vit.check_targets(targets[:0], 0)
    for bad, message in [
        (targets + 4, "classes 0 to 4"),
        (targets.float(), "one int64 class"),
        (targets[:3], "for each of 5 images"),
    ]:
        with pytest.raises(InputError, match=message):
            vit.check_targets(bad, 5)


def test_images_are_checked(vit: Classifier, images: torch.Tensor) -> None:
    vit.check_images(images)
    for bad, message in [
        (images[:, :1], r"take.*\(B, 3, 16, 16\)"),
        (images * 255, r"not in \[0, 1\]"),
        (images[:0], "holds no image"),
        (images.index_fill(0, torch.tensor([1]), float("nan")), "NaN"),
    ]:
        with pytest.raises(InputError, match=message):
            vit.check_images(bad)


def test_save_and_load(tmp_path: Path, images: torch.Tensor) -> None:
    model = Classifier(build_backbone("vit_tiny_patch16_224", ARGUMENTS), [0.1, 0.2, 0.3], [0.4, 0.5, 0.6]).eval()
    path = tmp_path / "model.safetensors"
    save_classifier(model, path, {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]})
    spec = {"timm": "vit_tiny_patch16_224", "arguments": ARGUMENTS, "mean": None, "std": None}
    assert torch.equal(load_classifier(spec, path)(images), model(images))
    with pytest.raises(ArtifactError, match="do not fit the model"):
        load_classifier({**spec, "arguments": ARGUMENTS | {"depth": 3}}, path)
    path.write_bytes(b"not safetensors")
    with pytest.raises(ArtifactError, match="cannot be read"):
        load_classifier(spec, path)
    with pytest.raises(ArtifactError, match="cannot be read"):
        load_classifier(spec, tmp_path / "absent.safetensors")


def test_unknown_architecture_and_argument() -> None:
    with pytest.raises(ConfigError, match="did you mean 'vit_tiny_patch16_224'"):
        build_backbone("vit_tiny_patch16_244", {})
    with pytest.raises(ConfigError, match="does not take these arguments"):
        build_backbone("vit_tiny_patch16_224", {"patches": 3})


def test_pass_counter(vit: Classifier, images: torch.Tensor) -> None:
    with PassCounter(vit.backbone) as passes:
        vit(images)
        leaf = images.clone().requires_grad_()
        vit(leaf)[:, 0].sum().backward()
    vit(images)
    assert (passes.forwards, passes.backwards) == (10, 5)
    assert not vit.backbone._forward_hooks


def test_frozen_puts_modes_flags_and_gradients_back_after_an_error() -> None:
    network = torch.nn.Linear(2, 1)
    network(torch.ones(1, 2)).sum().backward()
    before = network.weight.grad

    def fail() -> None:
        with frozen(network) as same:
            assert same is network
            assert not network.weight.requires_grad
            assert not network.training
            network.weight.grad = None
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert network.weight.grad is before
    assert network.weight.requires_grad
    assert network.training

"""Wrapped networks: their logits, where their patches lie, and that they are left as they were found."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

import vitfaith as vf
from tests.conftest import tiny_vit

DATA = Path(__file__).parents[1] / "data" / "huggingface"
FOLDERS = sorted(folder.name for folder in DATA.iterdir() if folder.is_dir())
TINY = {"img_size": 16, "patch_size": 4, "embed_dim": 24, "depth": 2, "num_heads": 3, "num_classes": 5}


class Network(nn.Module):
    """A small convolutional network of another library."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
        self.head = nn.Linear(4, 5)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.layers(images).mean((2, 3)))


def state_of(module: nn.Module) -> list[Any]:
    hooks = [(len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks)) for m in module.modules()]
    flags = [(p.requires_grad, p.device, p.dtype, p.grad) for p in module.parameters()]
    values = [t.clone() for t in module.state_dict().values()]
    return [hooks, flags, [m.training for m in module.modules()], values]


def assert_same(found: list[Any], expected: list[Any]) -> None:
    assert found[:3] == expected[:3]
    assert all(torch.equal(a, b) for a, b in zip(found[3], expected[3], strict=True))


def test_a_timm_vit_is_used_as_it_is() -> None:
    network = timm.create_model("vit_tiny_patch16_224", **TINY)
    network.norm.eval()
    before = state_of(network)
    classifier = vf.wrap(network)
    assert classifier.backbone is network
    assert (classifier.grid, classifier.num_classes, classifier.input_shape) == ((4, 4), 5, (3, 16, 16))
    assert classifier.normalisation == {"mean": [0.5] * 3, "std": [0.5] * 3, "from": "the module"}
    assert_same(state_of(network), before)
    assert vf.wrap(classifier) is classifier
    images = torch.rand(2, 3, 16, 16)
    network.eval()
    assert torch.equal(classifier(images), network((images - 0.5) / 0.5))


def test_a_replaced_head_is_counted() -> None:
    network = timm.create_model("vit_tiny_patch16_224", **TINY)
    network.head = nn.Linear(24, 7)
    assert vf.wrap(network).num_classes == 7


def test_any_module_has_cells_for_patches() -> None:
    network = Network()
    before = state_of(network)
    classifier = vf.wrap(network, mean=(0.5,) * 3, std=(0.25,) * 3, input_size=(32, 48), patch_size=8)
    assert (classifier.grid, classifier.num_classes) == ((4, 6), 5)
    assert_same(state_of(network), before)
    assert vf.wrap(network, mean=(0.5,) * 3, std=(0.25,) * 3, input_size=224).grid == (14, 14)
    residual = timm.create_model("resnet18", num_classes=3)
    assert vf.wrap(residual).grid == (14, 14)


def test_an_object_with_logits_is_read() -> None:
    class Other(Network):
        config = SimpleNamespace(to_dict=lambda: {"image_size": 16, "patch_size": 4, "id2label": {0: "a", 1: "b"}})

        def forward(self, images: Tensor) -> Any:
            return SimpleNamespace(logits=super().forward(images))

    classifier = vf.wrap(Other(), mean=(0.5,) * 3, std=(0.25,) * 3)
    assert (classifier.grid, classifier.num_classes, classifier.class_names) == ((4, 4), 5, ())


def stand_in(name: str, dtype: torch.dtype = torch.float32) -> nn.Module:
    """What a transformers classifier shows of itself: class name, configuration and tensors."""
    config = json.loads((DATA / name / "config.json").read_text())
    tensors = {k: v.to(dtype) for k, v in load_file(DATA / name / "model.safetensors").items()}

    class Kind(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.anchor = nn.Parameter(torch.zeros(1, dtype=dtype))
            self.config = SimpleNamespace(to_dict=lambda: config)

        def state_dict(self, *args: Any, **kwargs: Any) -> Any:
            return tensors

    Kind.__name__ = config["architectures"][0]
    return Kind()


@pytest.mark.parametrize("name", FOLDERS)
def test_a_transformers_classifier_becomes_a_timm_model(name: str) -> None:
    outputs = load_file(DATA / "outputs.safetensors")
    channels = 1 if name == "vit_grey" else 3
    mean, std = [0.48, 0.45, 0.4][:channels], [0.23, 0.22, 0.25][:channels]
    drawn = torch.random.get_rng_state()
    classifier = vf.wrap(stand_in(name), mean=mean, std=std)
    assert torch.equal(torch.random.get_rng_state(), drawn)
    assert classifier.class_names == ("owl", "fox", "bee", "cod", "elk")
    with torch.no_grad():
        found, folder = (model.eval()(outputs["images"][:, :channels]) for model in (classifier, vf.wrap(DATA / name)))
    assert float((found - outputs[f"{name}.logits"]).abs().max()) <= 1e-5
    assert torch.equal(found, folder)


@pytest.mark.parametrize("name", ["vit", "beit", "siglip2", "swin"])
def test_positions_of_a_transformers_classifier_are_resized(name: str) -> None:
    outputs = load_file(DATA / "outputs.safetensors")
    classifier = vf.wrap(stand_in(name), mean=[0.48, 0.45, 0.4], std=[0.23, 0.22, 0.25], input_size=24)
    assert classifier.input_shape == (3, 24, 24)
    with torch.no_grad():
        found = classifier.eval()(outputs["larger"])
    assert float((found - outputs[f"{name}.larger_logits"]).abs().max()) <= 1e-5


@pytest.mark.parametrize("name", ["beit", "beit_shared", "clip", "siglip", "siglip2", "swin", "swinv2"])
def test_explainers_of_a_transformers_classifier(name: str) -> None:
    """Every kind of explainer gives maps; Swin has no attention over the whole image, and says so."""
    classifier = vf.wrap(DATA / name)
    images = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    maps = vf.explain(classifier, images, ["saliency", ("rise", {"masks": 8})])
    if name.startswith("swin"):
        for method in ("attention_rollout", "transformer_mm", "cp_lrp"):
            with pytest.raises(vf.InputError, match="Swin"):
                vf.explain(classifier, images, method)
    else:
        maps |= vf.explain(classifier, images, ["attention_rollout", "transformer_mm", "cp_lrp"])
    assert all(m.shape == (2, *classifier.grid) and float(m.std()) > 0 for m in maps.values())


def test_a_converted_model_keeps_its_precision() -> None:
    classifier = vf.wrap(stand_in("vit", torch.bfloat16), mean=[0.5] * 3, std=[0.5] * 3)
    assert next(classifier.backbone.parameters()).dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("module", "arguments", "message"),
    [
        (Network(), {}, "Network does not say how its images are normalised; give mean= and std="),
        (Network(), {"mean": [0.5], "std": [0.0]}, r"must be one finite number for each channel, std > 0"),
        (Network(), {"mean": [0.5] * 3, "std": [0.5] * 3}, "does not say the size of its images; give input_size="),
        (Network(), {"mean": [0.5] * 3, "std": [0.5] * 3, "input_size": 16, "patch_size": 5}, "5×5 does not divide"),
        (Network(), {"mean": [0.5] * 3, "std": [0.5] * 3, "input_size": 227}, "no patch size divides images of 227×227"),
        (nn.Sequential(nn.Conv2d(3, 2, 3)), {"mean": [0.5] * 3, "std": [0.5] * 3, "input_size": 16}, "must return logits"),
        (timm.create_model("vit_tiny_patch16_224", **TINY), {"input_size": 32}, "the model takes 16×16 pixels; build it"),
        (timm.create_model("vit_tiny_patch16_224", **TINY), {"patch_size": 8}, "the model's patches are 4×4; leave it"),
        (timm.create_model("vit_tiny_patch16_224", **TINY), {"mean": [0.5], "std": [1.0]}, "have 1 channels, the module takes 3"),
        (3, {}, "model is a int; give a torch.nn.Module"),
        (tiny_vit(), {"mean": [0.5] * 3, "std": [0.5] * 3}, r"mean= is given for a model that is wrapped already"),
        (tiny_vit(), {"class_names": list("abcde")}, r"class_names= is given for a model that is wrapped already"),
        (timm.create_model("vit_tiny_patch16_224", **TINY), {"mean": [0.5] * 3}, "mean= is given alone; give mean= and std="),
        (timm.create_model("vit_tiny_patch16_224", **TINY), {"std": [0.5] * 3}, "std= is given alone"),
        (Network(), {"mean": 0.5, "std": 0.5}, r"mean is 0\.5; give one number for each channel, such as mean=\[0\.5\]"),
        (Network(), {"mean": [0.5], "std": [0.5], "input_size": 16}, r"the module fails on an image of shape \(1, 1, 16, 16\)"),
        (Network(), {"mean": [0.5] * 3, "std": [0.5] * 3, "input_size": 28.0}, r"input_size is 28\.0; give whole pixels"),
        (Network(), {"mean": [0.5] * 3, "std": [0.5] * 3, "input_size": 16, "patch_size": 0}, "patch_size is 0; give whole"),
        (Network(), {"mean": [0.5] * 3, "std": [0.5] * 3, "input_size": 16, "num_classes": 9}, "num_classes is 9, .* 5 logits"),
        (Network(), {"mean": [0.5] * 3, "std": [0.5] * 3, "input_size": 16, "class_names": ["a"]}, "class_names hold 1"),
        (Network(), {"mean": [0.5] * 3, "std": [0.5] * 3, "input_size": 16, "class_names": 5}, "class_names is 5; give a list"),
        (Network(), {"device": "gpu"}, "device is 'gpu', which torch cannot use here"),
        (timm.create_model("vit_tiny_patch16_224", **{**TINY, "num_classes": 0}), {}, "has no classification head"),
        (timm.create_model("resnet18", num_classes=0), {}, "ResNet has no classification head"),
        ("./no/such/folder", {}, "model './no/such/folder' is no folder; give one that exists"),
        (DATA / "vit", {"class_names": list("ab")}, "class_names hold 2 names; give one for each of 5 classes"),
        (DATA / "vit", {"num_classes": 4}, "num_classes is 4, the model gives 5 logits"),
        (DATA / "vit", {"patch_size": 3}, "patch_size is 3, the model.s patches are 4×4; leave it out"),
        (DATA / "vit" / "config.json", {}, "is a file; load its weights into a module"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(module: Any, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(vf.InputError, match=message):
        vf.wrap(module, **arguments)


class Normalise(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return (images - 0.5) / 0.25


def test_a_model_behind_a_normalisation_is_better_wrapped_alone() -> None:
    both = nn.Sequential(Normalise(), timm.create_model("vit_tiny_patch16_224", **TINY))
    hint = (
        "the Sequential holds a VisionTransformer; wrap that alone, with mean= and std= of the normalisation before it"
    )
    with pytest.raises(vf.InputError, match=hint):
        vf.wrap(both)
    with pytest.warns(UserWarning, match=hint):
        plain = vf.wrap(both, mean=[0] * 3, std=[1] * 3, input_size=16, patch_size=4)
    alone = vf.wrap(both[1], mean=[0.5] * 3, std=[0.25] * 3)
    images = torch.rand(2, 3, 16, 16)
    torch.testing.assert_close(plain(images), alone(images))
    assert "attention_rollout" in vf.explain(alone, images, "attention_rollout")


def test_settings_are_numbers_of_any_kind() -> None:
    lists = vf.wrap(Network(), mean=[0.5] * 3, std=[0.25] * 3, input_size=16, num_classes=5, class_names=list("abcde"))
    arrays = vf.wrap(Network(), mean=np.full(3, 0.5), std=torch.full((3,), 0.25), input_size=np.int64(16))
    assert arrays.normalisation == lists.normalisation
    assert arrays.input_shape == lists.input_shape == (3, 16, 16)
    assert lists.class_names == tuple("abcde")


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is there")
def test_a_gpu_that_is_not_there_is_named() -> None:
    with pytest.raises(vf.InputError, match=r"device is 'cuda', which torch cannot use here .* such as 'cpu'"):
        vf.wrap(timm.create_model("vit_tiny_patch16_224", **TINY), device="cuda")


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(vf.ConfigError, match=r"no model 'vit_tiny_patch16_225' \(did you mean"):
        vf.wrap("vit_tiny_patch16_225")


def test_a_classifier_of_a_study_is_taken() -> None:
    vit = tiny_vit()
    assert vf.wrap(vit, device="cpu") is vit


def test_a_swin_that_timm_cuts_otherwise_is_any_module() -> None:
    other = stand_in("swin")
    other.config.to_dict()["window_size"] = 5
    other.forward = lambda images: images.flatten(1)[:, :5]  # type: ignore[method-assign]
    with pytest.warns(UserWarning, match="SwinForImageClassification is not converted.*: Swin with windows of 5"):
        classifier = vf.wrap(other, mean=[0.5] * 3, std=[0.5] * 3)
    assert classifier.grid == (8, 8)


def test_a_network_without_a_head_is_refused() -> None:
    other = stand_in("vit")
    type(other).__name__ = "DINOv3ViTModel"
    with pytest.raises(vf.InputError, match="transformers has no classifier of DINOv3, only the network before a head"):
        vf.wrap(other, mean=[0.5] * 3, std=[0.5] * 3)


def test_a_changed_transformers_classifier_is_any_module() -> None:
    other = stand_in("vit")
    tensors = {k: v for k, v in other.state_dict().items() if "layer.1" not in k}
    other.state_dict = lambda: tensors  # type: ignore[method-assign, assignment]
    other.forward = lambda images: images.flatten(1)[:, :5]  # type: ignore[method-assign]
    with pytest.warns(UserWarning, match="ViTForImageClassification is not converted, so explainers of attention"):
        classifier = vf.wrap(other, mean=[0.5] * 3, std=[0.5] * 3)
    assert (classifier.grid, classifier.num_classes) == ((4, 4), 5)

"""Weights from files of every layout that training scripts leave behind, and what is said of those that do not fit."""

from __future__ import annotations

import argparse
import re
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from tests.conftest import tiny_vit
from vitfaith.errors import ArtifactError, ConfigError
from vitfaith.models.checkpoint import misfit, read_checkpoint
from vitfaith.models.classifier import Classifier
from vitfaith.models.load import load_classifier

ARGUMENTS = {
    **{"img_size": 16, "patch_size": 4, "in_chans": 3, "embed_dim": 24, "depth": 3, "num_heads": 3},
    **{"mlp_ratio": 2.0, "num_classes": 5},
}
SPEC: dict[str, Any] = {"timm": "vit_tiny_patch16_224", "arguments": ARGUMENTS, "mean": [0.5] * 3, "std": [0.25] * 3}


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    return dict(tiny_vit().backbone.state_dict())


class Trained:
    """Something that only running code brings back."""


LAYOUTS: dict[str, Any] = {
    "bare": lambda s: s,
    "ordered": OrderedDict,
    "model": lambda s: {"model": s, "epoch": 3, "args": argparse.Namespace(lr=0.1)},
    "state_dict of DataParallel": lambda s: {"state_dict": {f"module.{k}": v for k, v in s.items()}, "best_acc1": 0.9},
    "compiled in DataParallel": lambda s: {"model": {f"module._orig_mod.{k}": v for k, v in s.items()}},
    "average beside the model": lambda s: {
        "model": {k: v + 1 for k, v in s.items()},
        "model_ema": {"n_averaged": torch.tensor(7), **{f"module.{k}": v for k, v in s.items()}},
    },
    "nested twice": lambda s: {"model": {"state_dict": s}},
    "half precision": lambda s: {k: v.bfloat16() for k, v in s.items()},
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("zipped", [True, False])
def test_torch_files(layout: str, zipped: bool, state: dict[str, Tensor], tmp_path: Path, images: Tensor) -> None:
    path = tmp_path / "best.pth.tar"
    torch.save(LAYOUTS[layout](state), path, _use_new_zipfile_serialization=zipped)
    loaded = load_classifier(SPEC, path)
    expected = tiny_vit()
    if layout == "half precision":
        expected.backbone.load_state_dict({k: v.bfloat16().float() for k, v in state.items()})
    assert torch.equal(loaded(images), expected(images))
    assert not any(p.requires_grad for p in loaded.parameters())
    shapes = read_checkpoint(path, shapes_only=True).state
    assert misfit(expected.backbone.state_dict(), shapes) is None
    assert all(v.is_meta for v in shapes.values())


def test_safetensors_shapes(state: dict[str, Tensor], tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file(state, path)
    shapes = load_classifier(SPEC, path, shapes_only=True)
    assert all(p.is_meta for p in shapes.backbone.parameters())
    assert (shapes.num_classes, shapes.input_shape, shapes.grid) == (5, (3, 16, 16), (4, 4))


def test_files_that_would_run_code(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.save({"model": Trained()}, path)
    with pytest.raises(ArtifactError, match="cannot be read without running code that it brings along"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("content", "outline"),
    [
        ([1, 2], "found a list"),
        ({"epoch": 3, "optimizer": {}}, "found keys epoch, optimizer"),
        ({}, "found an empty mapping"),
        ({"model": {"epoch": 3}}, "found keys model"),
    ],
)
def test_files_without_weights(content: Any, outline: str, tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.save(content, path)
    with pytest.raises(ArtifactError, match=f"hold no tensors by name \\({outline}\\); save a state_dict"):
        read_checkpoint(path)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("damage", ["truncated", "wrong magic", "empty", "absent", "a folder"])
@pytest.mark.parametrize("shapes_only", [False, True])
def test_broken_files(suffix: str, damage: str, shapes_only: bool, state: dict[str, Tensor], tmp_path: Path) -> None:
    path = tmp_path / f"model{suffix}"
    torch.save(state, path) if suffix == ".pt" else save_file(state, path)
    content = path.read_bytes()
    path.unlink()
    match damage:
        case "truncated":
            path.write_bytes(content[: len(content) // 2])
        case "wrong magic":
            path.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
        case "empty":
            path.write_bytes(b"")
        case "a folder":
            path.mkdir()
    with pytest.raises(ArtifactError, match=f"weights '{re.escape(str(path))}' cannot be read"):
        read_checkpoint(path, shapes_only=shapes_only)


def test_what_does_not_fit_is_one_sentence(state: dict[str, Tensor], tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    changed = {k: v for k, v in state.items() if not k.startswith("blocks.2.")}
    changed |= {"fc.weight": torch.zeros(5, 24), "head.weight": torch.zeros(7, 24)}
    save_file(changed, path)
    with pytest.raises(ArtifactError) as caught:
        load_classifier(SPEC, path)
    assert str(caught.value) == (
        f"weights '{path}' do not fit the model: 12 missing: blocks.2.norm1.weight, blocks.2.norm1.bias, "
        "blocks.2.attn.qkv.weight, …, 1 unexpected: fc.weight, 1 of another shape: head.weight (7×24, the model has "
        "5×24); give the architecture and arguments that the weights were trained with"
    )


def test_position_tables_follow_the_image_size(state: dict[str, Tensor], tmp_path: Path) -> None:
    """timm's own conversion, as for its pretrained weights."""
    path = tmp_path / "model.pth"
    torch.save({"model": state}, path)
    spec = {**SPEC, "arguments": {**ARGUMENTS, "img_size": 24}}
    loaded = load_classifier(spec, path)
    expected = timm.models.vision_transformer.resample_abs_pos_embed(state["pos_embed"], [6, 6], num_prefix_tokens=1)
    assert torch.allclose(dict(loaded.backbone.named_parameters())["pos_embed"], expected)


def test_original_dinov2_names(state: dict[str, Tensor], tmp_path: Path) -> None:
    path = tmp_path / "dinov2.pth"
    torch.save({**state, "mask_token": torch.zeros(1, 24), "register_tokens": torch.zeros(1, 0, 24)}, path)
    spec = {**SPEC, "arguments": {**ARGUMENTS, "init_values": 1e-5}}
    with pytest.raises(ArtifactError, match=r"6 missing: blocks\.0\.ls1\.gamma"):
        load_classifier(spec, path)
    scales = {f"blocks.{i}.ls{j}.gamma": torch.full((24,), 0.5) for i in range(3) for j in (1, 2)}
    torch.save({**state, **scales, "mask_token": torch.zeros(1, 24)}, path)
    loaded = load_classifier(spec, path)
    assert float(dict(loaded.backbone.named_parameters())["blocks.1.ls2.gamma"].mean()) == 0.5


class TestPretrained:
    """timm's hub, with the download replaced: everything else is timm's."""

    @pytest.fixture
    def hub(self, monkeypatch: pytest.MonkeyPatch, state: dict[str, Tensor]) -> list[str]:
        asked: list[str] = []

        def download(name: str, *_: Any, **__: Any) -> dict[str, Tensor]:
            asked.append(name)
            return {**state, "head.weight": torch.ones(1000, 24), "head.bias": torch.zeros(1000)}

        monkeypatch.setattr(timm.models._builder, "load_state_dict_from_hf", download)
        return asked

    def test_normalisation_classes_and_weights(self, hub: list[str], state: dict[str, Tensor]) -> None:
        arguments = {k: v for k, v in ARGUMENTS.items() if k != "num_classes"}
        spec = {"timm": "deit_tiny_patch16_224.fb_in1k", "arguments": arguments, "mean": None, "std": None}
        loaded = load_classifier(spec, None)
        assert hub == ["timm/deit_tiny_patch16_224.fb_in1k"]
        assert torch.equal(dict(loaded.backbone.named_parameters())["cls_token"], state["cls_token"])
        assert loaded.mean.flatten().tolist() == pytest.approx([0.485, 0.456, 0.406])
        assert loaded.std.flatten().tolist() == pytest.approx([0.229, 0.224, 0.225])
        assert len(loaded.class_names) == loaded.num_classes == 1000
        assert loaded.class_names[243] == "bull mastiff"
        half = load_classifier({**spec, "timm": "vit_tiny_patch16_224.augreg_in21k_ft_in1k"}, None)
        assert half.mean.flatten().tolist() == pytest.approx([0.5] * 3)
        shapes = load_classifier(spec, None, shapes_only=True)
        assert len(hub) == 2
        assert shapes.class_names == loaded.class_names

    def test_a_head_of_other_classes_would_be_random(self, hub: list[str]) -> None:
        with pytest.raises(ConfigError, match="has 1000 classes, num_classes asks for 5, which would be random"):
            load_classifier(SPEC, None)

    def test_models_without_a_head(self) -> None:
        spec = {**SPEC, "timm": "vit_small_patch14_dinov2.lvd142m", "arguments": {}}
        with pytest.raises(ConfigError, match="has no classification head"):
            load_classifier(spec, None, shapes_only=True)

    def test_names(self) -> None:
        with pytest.raises(
            ConfigError, match=r"no pretrained weights 'deit_tiny_patch16_224\.fb_in21k' \(did you mean 'fb_in1k'"
        ):
            load_classifier({**SPEC, "timm": "deit_tiny_patch16_224.fb_in21k"}, None, shapes_only=True)
        with pytest.raises(ConfigError, match=r"did you mean 'deit_tiny_patch16_224'"):
            load_classifier({**SPEC, "timm": "deit_tny_patch16_224"}, None, shapes_only=True)

    def test_no_network(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def download(*_: Any, **__: Any) -> None:
            raise OSError("no route to host\nmore")

        monkeypatch.setattr(timm.models._builder, "load_state_dict_from_hf", download)
        arguments = {k: v for k, v in ARGUMENTS.items() if k != "num_classes"}
        message = r"cannot be loaded: no route to host; fetch them where there is a network"
        with pytest.raises(ArtifactError, match=message):
            load_classifier({**SPEC, "arguments": arguments}, None)

    @pytest.mark.parametrize(
        "name",
        [
            "deit_base_patch16_224.fb_in1k",
            "vit_base_patch16_224.augreg_in21k_ft_in1k",
            "vit_large_patch16_224.augreg_in21k_ft_in1k",
            "swin_base_patch4_window7_224.ms_in22k_ft_in1k",
        ],
    )
    def test_models_that_the_examples_name(self, name: str) -> None:
        found = load_classifier({"timm": name, "arguments": {}, "mean": None, "std": None}, None, shapes_only=True)
        assert found.input_shape == (3, 224, 224)
        assert found.num_classes == 1000
        assert isinstance(found, Classifier)
        assert isinstance(found.backbone, nn.Module)


def test_class_names_need_the_pretrained_head(state: dict[str, Tensor], tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file({**state, "head.weight": torch.zeros(1000, 24), "head.bias": torch.zeros(1000)}, path)
    spec = {**SPEC, "arguments": {**ARGUMENTS, "num_classes": 1000}}
    assert load_classifier(spec, path).class_names == ()

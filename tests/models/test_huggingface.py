"""Folders of the Hugging Face hub: transformers' own logits, and what is said of folders that cannot be read."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from timm.models.beit import Beit
from timm.models.deit import VisionTransformerDistilled
from timm.models.swin_transformer import SwinTransformer
from timm.models.swin_transformer_v2 import SwinTransformerV2
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from tests.conftest import tiny_vit
from vitfaith.errors import ArtifactError, ConfigError
from vitfaith.models.huggingface import swin
from vitfaith.models.load import load_classifier
from vitfaith.models.pair_pooled import PairPooledViT

DATA = Path(__file__).parents[1] / "data" / "huggingface"
FOLDERS = {
    "vit": (VisionTransformer, 1),
    "vit_grey": (VisionTransformer, 1),
    "deit": (VisionTransformer, 2),
    "deit_teacher": (VisionTransformerDistilled, 2),
    "dinov2": (PairPooledViT, 1),
    "dinov2_swiglu": (PairPooledViT, 1),
    "dinov2_registers": (PairPooledViT, 4),
    "beit": (Beit, 1),
    "beit_shared": (Beit, 1),
    "clip": (VisionTransformer, 1),
    "siglip": (VisionTransformer, 0),
    "siglip2": (VisionTransformer, 0),
    "swin": (SwinTransformer, 0),
    "swinv2": (SwinTransformerV2, 0),
}
SPEC: dict[str, Any] = {"timm": None, "arguments": {}, "mean": None, "std": None}


@pytest.fixture(scope="module")
def outputs() -> dict[str, Tensor]:
    return load_file(DATA / "outputs.safetensors")


@pytest.mark.parametrize("name", FOLDERS)
def test_logits_are_those_of_transformers(name: str, outputs: dict[str, Tensor]) -> None:
    classifier = load_classifier(SPEC, DATA / name)
    kind, prefix = FOLDERS[name]
    assert type(classifier.backbone) is kind
    side = 8 if name.startswith("swin") else 4
    assert (classifier.prefix_tokens, classifier.grid, classifier.num_classes) == (prefix, (side, side), 5)
    assert classifier.class_names == ("owl", "fox", "bee", "cod", "elk")
    channels = classifier.input_shape[0]
    with torch.no_grad():
        logits = classifier(outputs["images"][:, :channels])
    assert float((logits - outputs[f"{name}.logits"]).abs().max()) <= 1e-5
    assert float(logits.std()) > 0.1


@pytest.mark.parametrize(("images", "size"), [("larger", (24, 24)), ("oblong", (8, 32))])
@pytest.mark.parametrize("name", FOLDERS)
def test_position_tables_are_resized_as_in_transformers(
    name: str, images: str, size: tuple[int, int], outputs: dict[str, Tensor]
) -> None:
    """The oblong grid has as many patches as the stored square one."""
    spec = {**SPEC, "arguments": {"img_size": size}}
    classifier = load_classifier(spec, DATA / name)
    assert classifier.input_shape[1:] == size
    with torch.no_grad():
        logits = classifier(outputs[images][:, : classifier.input_shape[0]])
    assert float((logits - outputs[f"{name}.{images}_logits"]).abs().max()) <= 1e-5
    shapes = load_classifier(spec, DATA / name, shapes_only=True)
    assert all(p.is_meta for p in shapes.backbone.parameters())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(DATA / "vit", tmp_path / "vit"))


def change(file: Path, **values: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def test_normalisation(folder: Path, outputs: dict[str, Tensor]) -> None:
    file = folder / "preprocessor_config.json"
    assert load_classifier(SPEC, folder).std.flatten().tolist() == pytest.approx([0.23, 0.22, 0.25])
    change(file, do_normalize=False)
    plain = load_classifier(SPEC, folder)
    assert (plain.mean.flatten().tolist(), plain.std.flatten().tolist()) == ([0.0] * 3, [1.0] * 3)
    both = folder / "processor_config.json"
    both.write_text(json.dumps({"image_processor": {"image_mean": [0.1] * 3, "image_std": [0.2] * 3}}))
    file.unlink()
    assert load_classifier(SPEC, folder).std.flatten().tolist() == pytest.approx([0.2] * 3)
    both.unlink()
    with pytest.raises(ConfigError, match="does not say how images are normalised; set mean and std"):
        load_classifier(SPEC, folder)
    given = load_classifier({**SPEC, "mean": [0.48, 0.45, 0.4], "std": [0.23, 0.22, 0.25]}, folder)
    with torch.no_grad():
        assert torch.allclose(given(outputs["images"]), outputs["vit.logits"], atol=1e-5)


def test_torch_weights_in_a_folder(folder: Path, outputs: dict[str, Tensor]) -> None:
    state = load_file(folder / "model.safetensors")
    torch.save(state, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with torch.no_grad():
        assert torch.allclose(load_classifier(SPEC, folder)(outputs["images"]), outputs["vit.logits"], atol=1e-5)
    (folder / "pytorch_model.bin").unlink()
    with pytest.raises(ArtifactError, match=r"has no model\.safetensors"):
        load_classifier(SPEC, folder)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"architectures": ["CvtForImageClassification"]}, "holds a CvtForImageClassification; converted are ViTFor"),
        ({"architectures": ["DINOv3ViTModel"]}, "no classifier of DINOv3.* put your head on timm's network"),
        ({"architectures": ["ViTModel"]}, "holds a ViTModel; converted are"),
        ({"architectures": None}, "holds a model without a head; converted are"),
        ({"hidden_act": "gelus"}, "hidden_act 'gelus' is not known; known: gelu"),
        ({"num_attention_heads": 5}, r"with these arguments gives no model"),
        ({"num_hidden_layers": 3}, r"do not fit the model: \d+ missing: blocks\.2"),
        ({"num_hidden_layers": 1}, r"unexpected: blocks\.1"),
        ({"patch_size": 8}, r"of another shape: .*patch_embed\.proj\.weight \(24×3×4×4, the model has 24×3×8×8\)"),
        ({"id2label": {"0": "a", "1": "b"}}, r"head\.weight \(5×24, the model has 2×24\)"),
    ],
)
@pytest.mark.parametrize("shapes_only", [False, True])
def test_folders_that_do_not_fit(folder: Path, values: dict[str, Any], message: str, shapes_only: bool) -> None:
    change(folder / "config.json", **values)
    with pytest.raises((ConfigError, ArtifactError), match=message):
        load_classifier(SPEC, folder, shapes_only=shapes_only)


@pytest.mark.parametrize(
    ("name", "values", "size", "message"),
    [
        ("vit", {"image_size": [8, 32]}, 16, r"positions of an oblong grid \(2×8\) are not resized to 4×4"),
        ("beit", {"image_size": [8, 32]}, 16, "transformers mixes up the offsets of a BEiT"),
        ("swin", {"use_absolute_embeddings": True}, 16, "use_absolute_embeddings has no counterpart"),
        ("swin", {}, 18, r"not the same .* 18×18 pixels; use a square size that 8 divides"),
        ("swin", {"depths": [2, 2]}, (8, 32), "not the same"),
        ("swin", {"window_size": 5}, 16, "not the same"),
        ("swinv2", {"window_size": 4, "depths": [2, 2]}, 24, "leave img_size out, which is 16×16 then"),
        ("swinv2", {"window_size": 3}, 16, "name a timm model"),
    ],
)
def test_what_would_not_be_equal_is_refused(
    name: str, values: dict[str, Any], size: Any, message: str, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(DATA / name, tmp_path / name))
    change(folder / "config.json", **values)
    with pytest.raises(ConfigError, match=message):
        load_classifier({**SPEC, "arguments": {"img_size": size}}, folder)


@pytest.mark.parametrize(
    ("image", "window", "depths", "first", "equal"),
    [
        (224, 7, (2, 2, 6, 2), None, True),
        (448, 7, (2, 2, 6, 2), None, True),
        (384, 12, (2, 2, 18, 2), None, True),
        ((224, 448), 7, (2, 2, 6, 2), None, False),  # the last grid is 7×14: timm shifts windows along its longer side
        (256, 7, (2, 2, 6, 2), None, False),  # both pad a grid of 64, on either side of the shift
        (226, 7, (2, 2, 6, 2), None, False),  # transformers pads patches
        (112, 7, (2, 2, 6, 2), None, False),  # transformers cannot run it
        (256, 16, (2, 2, 6, 2), (256, 256), True),  # the last window is 8
        (512, 16, (2, 2, 6, 2), (256, 256), False),  # transformers keeps the window of 8
    ],
)
def test_windows_of_swin(image: Any, window: int, depths: tuple[int, ...], first: Any, equal: bool) -> None:
    arguments = {"img_size": image, "patch_size": 4, "window_size": window, "depths": depths}
    if equal:
        swin._check_windows(arguments, first)
    else:
        with pytest.raises(ConfigError, match="is not the same in timm and transformers"):
            swin._check_windows(arguments, first)


def test_old_files(tmp_path: Path, outputs: dict[str, Tensor]) -> None:
    """Tables that transformers once stored, and CLIP's settings under two keys."""
    for name, stored in (("clip", "vision_model.embeddings.position_ids"), ("swin", "swin.x.relative_position_index")):
        folder = Path(shutil.copytree(DATA / name, tmp_path / name))
        state = load_file(folder / "model.safetensors")
        save_file(state | {stored: torch.zeros(2, 2)}, folder / "model.safetensors")
        if name == "clip":
            vision = json.loads((folder / "config.json").read_text())["vision_config"]
            change(folder / "config.json", vision_config={"hidden_size": 768}, vision_config_dict=vision)
        with torch.no_grad():
            found = load_classifier(SPEC, folder)(outputs["images"])
        assert float((found - outputs[f"{name}.logits"]).abs().max()) <= 1e-5


def test_broken_folders(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="defines its own architecture; remove timm: vit_tiny_patch16_224"):
        load_classifier({**SPEC, "timm": "vit_tiny_patch16_224"}, folder)
    with pytest.raises(ConfigError, match=r"gives no model: .*patches"):
        load_classifier({**SPEC, "arguments": {"patches": 3}}, folder)
    with pytest.raises(ArtifactError, match=r"is no folder with a config\.json; name the timm architecture"):
        load_classifier(SPEC, folder / "model.safetensors")
    (folder / "config.json").write_text("{")
    with pytest.raises(ArtifactError, match=r"config\.json' cannot be read"):
        load_classifier(SPEC, folder)
    with pytest.raises(ArtifactError, match=r"config\.json' cannot be read"):
        load_classifier(SPEC, tmp_path)


def test_a_query_without_key_and_value_is_named(folder: Path) -> None:
    state = load_file(folder / "model.safetensors")
    state.pop("vit.encoder.layer.1.attention.attention.key.weight")
    save_file(state, folder / "model.safetensors")
    with pytest.raises(ArtifactError, match=r"blocks\.1\.attn\.qkv\.weight \(48×24, the model has 72×24\)"):
        load_classifier(SPEC, folder)


def test_folders_that_timm_wrote(tmp_path: Path) -> None:
    """The layout of timm's own models on the hub."""
    arguments = {
        "img_size": 16,
        "patch_size": 4,
        "embed_dim": 24,
        "depth": 2,
        "num_heads": 3,
        "mlp_ratio": 2.0,
        "num_classes": 5,
    }
    source = tiny_vit(**arguments)
    timm.models.save_for_hf(
        source.backbone,
        tmp_path,
        model_config={"label_names": list("abcde")},
        safe_serialization=True,
    )
    file = tmp_path / "config.json"
    normalisation = {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}
    change(file, architecture="vit_tiny_patch16_224", model_args=arguments, pretrained_cfg=normalisation)
    loaded = load_classifier(SPEC, tmp_path)
    images = torch.rand(2, 3, 16, 16)
    expected = source.backbone(
        (images - torch.tensor([0.1, 0.2, 0.3]).view(1, 3, 1, 1)) / torch.tensor([0.4, 0.5, 0.6]).view(1, 3, 1, 1)
    )
    assert torch.allclose(loaded(images), expected, atol=1e-6)
    assert loaded.class_names == tuple("abcde")

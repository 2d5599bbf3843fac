"""Estimates of disk and memory against what is really written and kept."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from tests.conftest import tiny_vit
from tests.denoisers.conftest import tiny_unet
from vitfaith.check import room
from vitfaith.check.datasets import dataset_facts
from vitfaith.check.room import amount, disk_free, disk_needed, held_in_forward, kept_for_backward
from vitfaith.denoisers.denoiser import Denoiser
from vitfaith.denoisers.schedule import Schedule
from vitfaith.models.load import load_classifier
from vitfaith.study.load import load_study, read_yaml
from vitfaith.study.plan import Plan
from vitfaith.study.sizes import compared, scored

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("overrides", [{}, {"depth": 6}, {"reg_tokens": 4}, {"img_size": 32}])
def test_what_a_backward_pass_keeps(overrides: dict[str, int]) -> None:
    """Counted on the model itself; from a twin of half its width, with three attention matrices a layer on top."""
    real = tiny_vit(**overrides)
    weights = {p.data_ptr() for p in real.parameters()}
    kept: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        if tensor.data_ptr() not in weights:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    image = torch.rand(1, *real.input_shape, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        real.backbone(image)
    measured = sum(t.untyped_storage().nbytes() for t in kept.values())
    tokens = real.grid[0] * real.grid[1] + real.prefix_tokens
    attention = overrides.get("depth", 3) * 3 * tokens**2 * 3 * 4
    twin = tiny_vit(**{**overrides, "embed_dim": 12})
    assert kept_for_backward(real, twin) == pytest.approx(measured + attention, rel=0.1)


def test_what_a_denoiser_holds() -> None:
    """8 channels at 16 px and 16 at 8 px, two arrays of each to skip to, and six times the largest; 4 bytes a number."""
    small = Denoiser(tiny_unet(size=16).to("meta"), Schedule.from_config({}))
    large = Denoiser(tiny_unet(size=64).to("meta"), Schedule.from_config({}))
    assert held_in_forward(small, (3, 16, 16)) == 4 * (2 * (8 * 256 + 16 * 64) + 6 * 8 * 256)
    assert held_in_forward(large, (3, 16, 16)) == 16 * held_in_forward(small, (3, 16, 16))


def test_disk_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    study = load_study(read_yaml(Path("config/tiny.yaml")))
    plan = Plan(study)
    section = study.models["vit_patch4"]
    spec = section.model_dump(mode="json", include={"timm", "arguments", "mean", "std"})
    classifier = load_classifier(spec, Path(str(section.weights)), shapes_only=True)
    facts = dataset_facts(study, "tiny")
    assert (facts.images, facts.shape, facts.labels, facts.masks) == (12, (1, 28, 28), 9, False)
    found = disk_needed(plan, {"tiny": facts}, {"vit_patch4": classifier})
    pixels, maps = 12 * 28 * 28, 12 * 3
    assert found == {
        "shard": pixels,
        "attack": pixels + 12 * 40,  # pgd; clean refers to the shard
        "denoise": 2 * 2 * 2 * pixels,  # two attacks, two samples, two bytes
        "predictions": 2 * 12 * 90 + 2 * 12 * (90 + 8),  # ten classes
        "attribute": 2 * maps * (49 * 4 + 40)
        + 2 * maps * (49 * 4 * 3 + 40),  # map, spread and raw mean behind the smoothing
        "tables": maps * sum(scored(plan, c) + compared(plan, c) for c in plan.conditions),
    }


def test_amounts_and_the_place() -> None:
    assert [amount(n) for n in (10, 81e3, 41e6, 2.64e9, 3e12)] == ["1 kB", "81 kB", "41 MB", "2.6 GB", "3.0 TB"]
    assert disk_free(Path("results/of/a/study/that/is/not/there")) > 0
    assert room.memory_here() > 10**8


def test_weights_of_another_image_size_pass(tmp_path: Path) -> None:
    """timm's conversion resizes position tables; it works on shapes alone as well."""
    save_file(dict(tiny_vit().backbone.state_dict()), tmp_path / "m.safetensors")
    arguments = {
        **{"img_size": 24, "patch_size": 4, "embed_dim": 24, "depth": 3, "num_heads": 3},
        **{"mlp_ratio": 2.0, "num_classes": 5},
    }
    spec = {"timm": "vit_tiny_patch16_224", "arguments": arguments, "mean": None, "std": None}
    assert load_classifier(spec, tmp_path / "m.safetensors", shapes_only=True).grid == (6, 6)

"""Attacked and smoothed images in memory."""

from __future__ import annotations

import inspect
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import vitfaith as vf
from tests.api.test_wrap import assert_same, state_of
from tests.conftest import tiny_vit
from vitfaith.attacks.registry import ATTACKS
from vitfaith.attacks.run import attack_images
from vitfaith.denoisers.denoiser import Denoiser
from vitfaith.models.classifier import Classifier
from vitfaith.registries import REGISTRIES
from vitfaith.smoothings.aggregate import aggregate_maps

DENOISER = Path(__file__).parents[2] / "resources" / "denoisers" / "fashion_mnist"


@pytest.fixture(scope="module")
def grey() -> Classifier:
    return tiny_vit(img_size=28, in_chans=1)


@pytest.fixture(scope="module")
def model(grey: Classifier) -> Classifier:
    return vf.wrap(grey.backbone, mean=[0.5], std=[0.25])


@pytest.fixture(scope="module")
def pixels() -> Tensor:
    return torch.randint(0, 256, (3, 1, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))


@pytest.fixture(scope="module")
def denoiser() -> Denoiser:
    return vf.load_denoiser(DENOISER)


def test_attacked_images_are_those_of_the_library(model: Classifier, pixels: Tensor) -> None:
    before = state_of(model.backbone)
    found = vf.attack(model, pixels, "pgd", eps="8/255", alpha="4/255", steps=3, seed=5)
    assert_same(state_of(model.backbone), before)
    item = ATTACKS.item("pgd", eps=8 / 255, alpha=4 / 255, steps=3)
    expected = attack_images(model, pixels / 255, found.target, found.image_ids, item, seed=5)
    assert torch.equal((found.images * 255).round().byte(), torch.from_numpy(expected.images))
    assert torch.equal(found.images, torch.from_numpy(expected.images).float() / 255)
    assert found.prediction.tolist() == expected.prediction.tolist()
    assert torch.equal(found.success, found.prediction != found.target)
    assert float((found.images - pixels / 255).abs().max()) <= 8 / 255 + 1e-6
    assert torch.allclose(found.linf, (found.images - pixels / 255).abs().flatten(1).amax(1))
    assert torch.allclose(found.l2, (found.images - pixels / 255).flatten(1).norm(dim=1))
    assert found.image_ids == vf.explain(model, pixels, "random").image_ids
    parts = [
        vf.attack(model, part, "pgd", eps="8/255", alpha="4/255", steps=3, seed=5) for part in (pixels[:1], pixels[1:])
    ]
    assert torch.equal(torch.cat([part.images for part in parts]), found.images)


def test_pixels_off_the_lattice_are_rounded(model: Classifier, pixels: Tensor) -> None:
    with pytest.warns(UserWarning, match="images are rounded to pixels k/255"):
        found = vf.attack(model, (pixels / 255 + 1e-3).clamp(0, 1), "clean")
    assert torch.equal(found.images, pixels / 255)
    assert found.linf.tolist() == [0, 0, 0]


def test_an_attack_sees_through_a_smoothing(model: Classifier, pixels: Tensor, denoiser: Denoiser) -> None:
    through = ("dds", {"sigma": 0.1, "samples": 1})
    found = vf.attack(
        model, pixels[:1], "adaptive_pgd", through=through, denoiser=denoiser, eps="8/255", alpha="4/255", steps=1
    )
    assert 0 < float(found.linf[0]) <= 8 / 255 + 1e-6
    with pytest.raises(vf.InputError, match="through names a smoothing with its settings"):
        vf.attack(model, pixels, "adaptive_pgd", through="dds", eps="8/255", alpha="4/255", steps=1)
    with pytest.raises(vf.InputError, match="through names 0 smoothings; give one"):
        vf.attack(model, pixels, "adaptive_pgd", through={}, eps="8/255", alpha="4/255", steps=1)
    with pytest.raises(vf.InputError, match=r"smoothing 'dds' needs denoiser=; load one with vitfaith\.load_denoiser"):
        vf.attack(model, pixels, "adaptive_pgd", through=through, eps="8/255", alpha="4/255", steps=1)
    for call in (
        partial(vf.attack, attack="adaptive_pgd", through=through, eps="8/255", alpha="4/255", steps=1),
        partial(vf.smooth, smoothing="dds", sigma=0.25),
    ):
        with pytest.raises(vf.InputError, match=r"denoiser is a str; load it with vitfaith\.load_denoiser"):
            call(model, pixels, denoiser="vitfaith:denoisers/fashion_mnist")


@pytest.mark.parametrize(("section", "function"), [("attacks", vf.attack), ("smoothings", vf.smooth)])
def test_no_setting_has_the_name_of_an_argument(section: str, function: Any) -> None:
    arguments = set(inspect.signature(function).parameters) - {"denoiser"}
    for entry in REGISTRIES[section]:
        assert not arguments & set(entry.parameters.model_fields), entry.name


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("pdg", {}, r"unknown attack 'pdg' \(did you mean 'pgd'"),
        ("pgd", {"epsilon": 1}, r"attacks\.pgd\.epsilon: unknown key"),
        ("pgd", {"eps": 8}, "did you mean 8/255"),
    ],
)
def test_wrong_attacks_are_refused(
    model: Classifier, pixels: Tensor, name: str, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(vf.ConfigError, match=message):
        vf.attack(model, pixels, name, **settings)


def test_behind_a_smoothing(model: Classifier, pixels: Tensor, denoiser: Denoiser) -> None:
    before = state_of(model.backbone)
    smoothed = vf.smooth(model, pixels, "dds", denoiser=denoiser, sigma=0.25, samples=3, seed=4)
    assert smoothed.samples.shape == (3, 3, 1, 28, 28)
    assert torch.equal(smoothed.samples, smoothed.samples.half().float())
    more = vf.smooth(model, pixels[1:], "dds", denoiser=denoiser, sigma=0.25, samples=4, seed=4)
    assert torch.allclose(more.samples[:, :3], smoothed.samples[1:], atol=2e-3)
    grid = smoothed.explain(["attention_rollout", "random"])
    assert_same(state_of(model.backbone), before)
    table = smoothed.predict(labels=[0, 1, 2])
    with torch.no_grad():
        each = torch.stack([model.eval()(smoothed.samples[:, s]).softmax(1) for s in range(3)], 1)
    mean = each.double().mean(1)
    assert np.allclose(np.stack(table["probabilities"]), mean.numpy(), atol=1e-6)
    assert table["prediction"].tolist() == mean.argmax(1).tolist() == grid.target.tolist()
    assert np.stack(table["sample_predictions"]).tolist() == each.argmax(-1).tolist()
    assert table["label"].tolist() == [0, 1, 2]
    assert grid.sample_maps["random"].shape == (3, 3, 7, 7)
    mean_map, _ = aggregate_maps(grid.sample_maps["random"].transpose(0, 1), "mean")
    assert torch.equal(grid["random"], mean_map)
    assert grid.raw is not None
    assert torch.allclose(grid.raw["random"], grid.sample_maps["random"].mean(1))
    first = vf.explain(model, smoothed.samples[:, 0], "attention_rollout", target=grid.target)
    assert torch.allclose(first["attention_rollout"], grid.sample_maps["attention_rollout"][:, 0], atol=1e-6)
    scores = vf.score(model, pixels, grid | {"mine": torch.rand(3, 7, 7)}, [("saco", {"groups": [7]}), "entropy"])
    assert scores["value"].notna().all()
    second = mean.scatter(1, mean.argmax(1)[:, None], -1).argmax(1)
    assert smoothed.explain("random", target="runner_up").target.tolist() == second.tolist()


def test_no_smoothing_is_one_too(model: Classifier, pixels: Tensor) -> None:
    smoothed = vf.smooth(model, pixels, "none")
    assert torch.allclose(smoothed.samples[:, 0], pixels / 255, atol=5e-4)


def test_wrong_smoothings_are_refused(model: Classifier, pixels: Tensor, denoiser: Denoiser) -> None:
    with pytest.raises(vf.InputError, match="smoothing 'dds' needs denoiser="):
        vf.smooth(model, pixels, "dds", sigma=0.25)
    with pytest.raises(vf.ConfigError, match=r"smoothings\.dds\.sigma: missing"):
        vf.smooth(model, pixels, "dds", denoiser=denoiser)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"format": "x"}, r"denoiser\.format: Input should be 'diffusers' or 'adm'"),
        ({"class_lable": 3}, r"denoiser\.class_lable: unknown key \(did you mean 'class_label'\?\)"),
        ({"preset": "imagenet_256"}, "preset and arguments belong to format adm"),
        ({"format": "adm"}, "format adm needs the flags of its training; add a preset"),
        ({"format": "adm", "preset": "x"}, r"denoiser\.preset: unknown 'x'"),
        ({"training": {}}, r"denoiser\.training: no setting of load_denoiser"),
        ({"class_label": 3}, "is unconditional; remove class_label"),
        ({"device": "gpu"}, "device is 'gpu', which torch cannot use here"),
    ],
)
def test_wrong_denoisers_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises((vf.ConfigError, vf.InputError), match=message):
        vf.load_denoiser(DENOISER, **settings)

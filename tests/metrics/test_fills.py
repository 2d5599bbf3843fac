"""Fills and the linear imputation."""

from __future__ import annotations

import math
import pkgutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from pytorch_grad_cam.metrics.road import NoisyLinearImputer

from tests.denoisers.conftest import tiny_unet
from vitfaith import fingerprint
from vitfaith.denoisers.denoiser import Denoiser
from vitfaith.denoisers.schedule import Schedule
from vitfaith.errors import InputError
from vitfaith.metrics import fills
from vitfaith.metrics.common import CurveParameters
from vitfaith.metrics.context import ScoreContext
from vitfaith.metrics.engine.engine import Engine
from vitfaith.metrics.engine.requests import Full
from vitfaith.metrics.fills.registry import FILLS, prepare_fill
from vitfaith.metrics.fills.road import impute_linear
from vitfaith.models.classifier import Classifier
from vitfaith.stability.registry import STABILITY_MEASURES


def context_of(images: torch.Tensor, image_ids: list[str], vit: Any = None, **extras: object) -> ScoreContext:
    count = len(images)
    maps, usable = torch.zeros(count, 1, 4, 4), torch.ones(count, 1, dtype=torch.bool)
    targets = torch.zeros(count, dtype=torch.int64)
    return ScoreContext(vit, images, targets, image_ids, ("m",), maps, usable, 3, extras=extras)


def values(images: torch.Tensor, image_ids: list[str], choice: Any, **extras: object) -> torch.Tensor:
    return prepare_fill(CurveParameters(fill=choice).fill, context_of(images, image_ids, **extras)).expand_as(images)


def test_constant_fills(images: torch.Tensor, image_ids: list[str]) -> None:
    assert torch.equal(values(images, image_ids, "black"), torch.zeros_like(images))
    for index in range(5):
        grey = values(images, image_ids, "image_mean")[index]
        assert torch.allclose(grey, images[index].mean().expand_as(grey))
        for channel in range(3):
            colour = values(images, image_ids, "channel_mean")[index, channel]
            assert torch.allclose(colour, images[index, channel].mean().expand_as(colour))


@pytest.mark.parametrize(("kernel", "sigma"), [(5, 1.0), (4, 2.0), (1, 3.0)])
def test_blur_is_a_weighted_mean_of_the_neighbourhood(
    images: torch.Tensor, image_ids: list[str], kernel: Any, sigma: float
) -> None:
    blurred = values(images, image_ids, {"name": "blur", "kernel": kernel, "sigma": sigma})
    offsets = [i - (kernel - 1) // 2 for i in range(kernel)]
    weights = [math.exp(-((i - (kernel - 1) / 2) ** 2) / (2 * sigma**2)) for i in range(kernel)]
    for y, x in ((0, 0), (7, 8), (15, 3)):
        expected = (
            sum(
                wy * wx * float(images[2, 1, min(max(y + dy, 0), 15), min(max(x + dx, 0), 15)])
                for wy, dy in zip(weights, offsets, strict=True)
                for wx, dx in zip(weights, offsets, strict=True)
            )
            / sum(weights) ** 2
        )
        assert float(blurred[2, 1, y, x]) == pytest.approx(expected, abs=1e-6)
    flat = torch.full_like(images, 0.3)
    assert torch.allclose(values(flat, image_ids, "blur"), flat)


def test_noise_depends_on_the_image_id_and_the_draw_alone(images: torch.Tensor, image_ids: list[str]) -> None:
    noise = values(images, image_ids, "noise")
    assert noise.min() >= 0
    assert noise.max() < 1
    assert noise.flatten(1).std(1).min() > 0.25
    assert torch.equal(noise[[3]], values(images[:1], image_ids[3:4], "noise")[[0]])
    assert not torch.equal(noise[0], noise[1])
    assert not torch.equal(noise, values(images, image_ids, {"name": "noise", "draw": 1}))


def test_given_fills(vit: Classifier, images: torch.Tensor, image_ids: list[str]) -> None:
    flipped = images.flip(3)
    assert torch.equal(values(images, image_ids, "given", infill=flipped), flipped)
    assert torch.equal(values(images, image_ids, {"name": "given", "key": "one"}, one=flipped[0])[4], flipped[0])
    with pytest.raises(InputError, match=r"extras has no 'infil'.*did you mean 'infill'"):
        values(images, image_ids, {"name": "given", "key": "infil"}, infill=flipped)
    with pytest.raises(InputError, match="broadcastable"):
        values(images, image_ids, "given", infill=flipped[:, :, :4])

    def darken(chosen: torch.Tensor, removed: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
        assert chosen.shape[1:] == (3, 16, 16)
        assert removed.all()
        return 0.1 * index[:, None, None, None] * chosen

    request = Full(FILLS.item("given"))
    answer = Engine(context_of(images, image_ids, vit, infill=darken), 2).answer([request])[request]
    with torch.no_grad():
        expected = vit(images * torch.tensor([0, 0.1, 0.2, 0.3, 0.4])[:, None, None, None]).softmax(1)[:, 0]
    assert torch.allclose(answer.probability.float(), expected, atol=1e-6)


def test_every_fill_is_deterministic_and_independent_of_the_batch(
    vit: Classifier, images: torch.Tensor, image_ids: list[str]
) -> None:
    for entry in FILLS:
        if entry.name == "given":
            continue
        diffusion = {"name": "diffusion", "denoiser": "tiny", "steps": 2, "resamples": 2}
        request = Full(CurveParameters(fill=diffusion if entry.name == "diffusion" else entry.name).fill)
        learned = {
            "diffmask_placeholder": {"diffmask_placeholder": torch.arange(24.0)},
            "diffusion": {"denoiser": Denoiser(tiny_unet(), Schedule.from_config({}))},
        }.get(entry.name, {})
        whole = Engine(context_of(images, image_ids, vit, **learned), 64).answer([request])[request].probability
        single = (
            Engine(context_of(images[2:3], image_ids[2:3], vit, **learned), 64).answer([request])[request].probability
        )
        assert float(single[0]) == pytest.approx(float(whole[2]), rel=1e-5)


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ("blurr", r"unknown fill 'blurr' \(did you mean 'blur'\?\); known: black, blur"),
        (
            {"name": "blur", "sigma": -1},
            "fill 'blur': sigma: Input should be greater than 0; its settings are kernel, sigma",
        ),
        ({"name": "black", "width": 2}, r"fill 'black': width: Extra .* its settings are none"),
        ({"sigma": 2}, "has no key 'name'; known: image_mean"),
        (3, "give the name of a fill, or a mapping with the key 'name'; known: image_mean"),
        (STABILITY_MEASURES.item("spearman"), "give the name of a fill"),
    ],
)
def test_wrong_fills_are_reported_when_the_configuration_is_read(choice: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message) as caught:
        CurveParameters(fill=choice)
    assert [error["loc"] for error in caught.value.errors()] == [("fill",)]


def test_a_fill_is_named_with_the_settings_that_differ_from_their_defaults() -> None:
    assert str(FILLS.item("blur")) == "blur"
    assert str(FILLS.item("blur", sigma=2)) == "blur(sigma=2.0)"
    assert str(FILLS.item("blur", kernel=3, sigma=5)) == "blur(kernel=3)"
    assert str(FILLS.item("diffusion", denoiser="tiny")) == "diffusion(denoiser=tiny)"
    assert FILLS.item("blur", sigma=5) == FILLS.item("blur")


def dense_solution(image: np.ndarray, removed: np.ndarray) -> np.ndarray:
    """One linear equation for each removed pixel, solved with a dense matrix."""
    height, width = removed.shape
    unknown = {tuple(place): i for i, place in enumerate(np.argwhere(removed))}
    matrix, right = np.zeros((len(unknown), len(unknown))), np.zeros((len(unknown), len(image)))
    for (y, x), row in unknown.items():
        for dy in (-1, 0, 1):
            for dx in (-1, 0, 1):
                v, u = y + dy, x + dx
                if (dy, dx) == (0, 0) or not (0 <= v < height and 0 <= u < width):
                    continue
                weight = 1 / 6 if 0 in (dy, dx) else 1 / 12
                matrix[row, row] += weight
                if (v, u) in unknown:
                    matrix[row, unknown[v, u]] -= weight
                else:
                    right[row] += weight * image[:, v, u]
    filled = image.copy()
    filled[:, removed] = np.linalg.solve(matrix, right).T
    return filled


@pytest.mark.parametrize("share", [0.05, 0.5, 0.9, 0.99])
def test_imputation_solves_the_linear_system(images: torch.Tensor, share: float) -> None:
    removed = torch.rand(5, 16, 16, generator=torch.Generator().manual_seed(8)) < share
    removed[0, :, :9] = True  # a large hole at the border
    ours = impute_linear(images, removed, tolerance=1e-6)
    assert torch.equal(ours.masked_select(~removed[:, None]), images.masked_select(~removed[:, None]))
    for index in range(5):
        expected = dense_solution(images[index].double().numpy(), removed[index].numpy())
        assert np.abs(ours[index].numpy() - expected).max() < 1e-4
        theirs = NoisyLinearImputer(noise=0.0)(images[index], (~removed[index]).float())
        assert float((ours[index] - theirs).abs().max()) < 1e-4


def test_imputation_of_one_image_ignores_its_neighbours(images: torch.Tensor) -> None:
    removed = torch.rand(5, 16, 16, generator=torch.Generator().manual_seed(8)) < 0.6
    removed[1] = True  # nothing known
    removed[2] = False  # nothing to do
    whole = impute_linear(images, removed)
    for index in range(5):
        assert torch.allclose(whole[[index]], impute_linear(images[[index]], removed[[index]]), atol=1e-6)
    assert torch.allclose(whole[1], images[1].mean((1, 2), keepdim=True).expand(3, 16, 16))
    assert torch.equal(whole[2], images[2])


def test_road_noise_is_added_to_imputed_pixels_only_and_keyed_by_image(
    images: torch.Tensor, image_ids: list[str]
) -> None:
    impute = prepare_fill(FILLS.item("noisy_linear", noise=0.1), context_of(images, image_ids))
    removed = torch.zeros(2, 16, 16, dtype=torch.bool)
    removed[:, 4:8] = True
    index = torch.tensor([3, 0])
    noisy, smooth = impute(images[index], removed, index), impute_linear(images[index], removed)
    difference = noisy - smooth
    assert difference[:, :, ~removed[0]].abs().max() == 0
    assert 0.07 < float(difference[:, :, removed[0]].std()) < 0.13
    again = impute(images[[3, 3]], removed, torch.tensor([3, 3]))
    assert torch.equal(again[0], again[1])
    assert torch.allclose(again[0], noisy[0])


@pytest.mark.parametrize("stage", ["score", "bank"])
@pytest.mark.parametrize(
    "fill", sorted({m.name for m in pkgutil.iter_modules(fills.__path__)} - {"removal"})
)  # of trainings
def test_a_change_of_any_fill_changes_the_code_of_the_stages_that_use_fills(
    monkeypatch: pytest.MonkeyPatch, stage: str, fill: str
) -> None:
    def code() -> str:
        return fingerprint.fingerprint([f"vitfaith.stages.{stage}"], stop=["vitfaith.registries"])

    before, digest = code(), fingerprint._digest_of_file
    changed = Path(fills.__path__[0], f"{fill}.py")
    monkeypatch.setattr(fingerprint, "_digest_of_file", lambda path: digest(path) + "*" * (path == changed))
    assert code() != before

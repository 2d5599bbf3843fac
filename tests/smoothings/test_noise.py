"""Smoothing with other noise: its law and size in the image, keyed as the Gaussian one, and what of the rest it leaves alone."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import torch

from tests.smoothings.test_dds import smooth
from vitfaith.denoisers.denoiser import Denoiser
from vitfaith.errors import ConfigError
from vitfaith.noise import NOISES, Noise, shaped
from vitfaith.rng import generator
from vitfaith.smoothings.dds import DdsParameters, dds_copies, noise_level
from vitfaith.smoothings.registry import SMOOTHINGS

Build = Callable[..., DdsParameters]
OTHERS: tuple[Noise, ...] = ("laplace", "uniform")


@pytest.mark.parametrize("noise", NOISES)
def test_added_noise_has_the_asked_law(denoiser: Denoiser, dds: Build, noise: Noise) -> None:
    grey = torch.full((1, 3, 64, 64), 0.5)
    added = (smooth(denoiser, grey, dds(mode="noise_only", sigma=0.05, noise=noise), range(4)) - 0.5).flatten()
    assert float(added.std()) == pytest.approx(0.05, rel=0.03)
    kurtosis = float(((added / added.std()) ** 4).mean())
    assert kurtosis == pytest.approx({"gaussian": 3.0, "laplace": 6.0, "uniform": 1.8}[noise], rel=0.1)
    if noise == "uniform":
        assert float(added.abs().max()) <= 0.05 * 3**0.5 + 1e-6


@pytest.mark.parametrize("noise", OTHERS)
@pytest.mark.parametrize("mode", ["calibrated", "multistep", "noise_only"])
def test_no_result_depends_on_batch_or_number_of_samples(
    denoiser: Denoiser, images: torch.Tensor, dds: Build, noise: Noise, mode: str
) -> None:
    parameters = dds(mode=mode, noise=noise, sigma=4 / 255)
    whole = smooth(denoiser, images, parameters, range(3))
    assert (
        float((smooth(denoiser, images[:2], parameters, range(1, 3), batch_size=1) - whole[:2, 1:]).abs().max()) <= 1e-5
    )
    if mode == "noise_only":  # no network rounds differently by batch
        assert torch.equal(smooth(denoiser, images[:2], parameters, range(1, 3), batch_size=1), whole[:2, 1:])


@pytest.mark.parametrize("noise", OTHERS)
def test_calibrated_by_hand(denoiser: Denoiser, images: torch.Tensor, dds: Build, noise: Noise) -> None:
    """x_t = √ᾱ(2x − 1) + √(1 − ᾱ)ε with ε of variance 1, at the timestep of Gaussian noise of the same variance."""
    parameters = dds(sigma=0.25, noise=noise)
    assert noise_level(denoiser.schedule, parameters) == noise_level(denoiser.schedule, dds(sigma=0.25))
    t = 145
    epsilon = shaped(torch.randn(images[0].shape, generator=generator(11, "image-0", "dds", 0)), noise)
    noisy = denoiser.schedule.signal(t) * (2 * images[0] - 1) + denoiser.schedule.noise(t) * epsilon
    with torch.no_grad():
        clean, _ = denoiser.predict_clean(noisy[None], t)
    found = smooth(denoiser, images[:1], parameters, range(1))[0, 0]
    torch.testing.assert_close(found, ((clean[0] + 1) / 2).clamp(0, 1), rtol=0, atol=1e-6)


def test_later_steps_of_the_chain_stay_gaussian(denoiser: Denoiser, images: torch.Tensor, dds: Build) -> None:
    """Each draw is standard normal; the smoothing shapes the first one alone."""
    numbers = [torch.randn(1, *images.shape[1:], generator=torch.Generator().manual_seed(i)) for i in range(3)]
    parameters = dds(mode="multistep", steps=3)
    with torch.no_grad():
        gaussian_first = [shaped(numbers[0], "laplace"), *numbers[1:]]
        expected = dds_copies(denoiser, images[:1], parameters, lambda _: gaussian_first.pop(0))
        given = list(numbers)
        found = dds_copies(
            denoiser, images[:1], dds(mode="multistep", steps=3, noise="laplace"), lambda _: given.pop(0)
        )
    assert torch.equal(found, expected)
    assert not given


def test_gaussian_is_left_out_of_specifications() -> None:
    old = {"sigma": 0.25, "denoiser": "mine"}
    spec = SMOOTHINGS.item("dds", **old).spec()
    assert "noise" not in spec
    assert json.dumps(spec) == json.dumps(SMOOTHINGS.item("dds", **old, noise="gaussian").spec())
    other = SMOOTHINGS.item("dds", **old, noise="laplace")
    assert other.spec() == spec | {"noise": "laplace"}
    assert SMOOTHINGS.from_spec(other.spec()) == other
    assert SMOOTHINGS.from_spec(spec).parameters.noise == "gaussian"


@pytest.mark.parametrize("mode", ["official", "denoise_only", "official_noise_only", "official_denoise_only"])
def test_modes_without_a_choice_of_noise_refuse_it(dds: Build, mode: str) -> None:
    dds(mode=mode, noise="gaussian")
    with pytest.raises(
        ConfigError, match=f"noise laplace belongs to modes calibrated, multistep, noise_only, not {mode}"
    ):
        dds(mode=mode, noise="laplace")

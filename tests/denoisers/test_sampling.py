from __future__ import annotations

from math import exp, log, sqrt

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler
from torch import Tensor

from vitfaith.denoisers.denoiser import Denoiser
from vitfaith.denoisers.sampling import ancestral_step, ddim_step, spread_timesteps, step_variance, walk_back
from vitfaith.denoisers.schedule import Schedule

from .conftest import tiny_unet


def seeded(shape: torch.Size, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("variance", ["fixed_small", "fixed_large", "learned_range"])
@pytest.mark.parametrize("timestep", [1, 40, 500])
def test_ancestral_step_is_that_of_diffusers(variance: str, timestep: int, images: Tensor) -> None:
    config = {"variance_type": variance}
    outputs = 6 if variance == "learned_range" else 3
    denoiser = Denoiser(tiny_unet(outputs=outputs), Schedule.from_config(config))
    reference = DDPMScheduler(**config)  # type: ignore[arg-type]
    noisy = seeded(images.shape)
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(9))
    with torch.no_grad():
        output = denoiser.network(noisy, torch.full((5,), timestep)).sample
        theirs = reference.step(output, timestep, noisy, generator=torch.Generator().manual_seed(9)).prev_sample
        clean, raw = denoiser.predict_clean(noisy, timestep)
        ours = ancestral_step(denoiser.schedule, noisy, clean, raw, timestep, timestep - 1, lambda: noise)
    # diffusers takes 1 − ᾱ in float32, which leaves three digits of 2e-4 at timestep 1; ours is float64
    assert float((ours - theirs).abs().max()) <= (1e-4 if timestep == 1 else 3e-5)


@pytest.mark.parametrize(
    "clip", [{"clip_sample_range": 0.4}, {"clip_sample_range": 3.0}, {"clip_sample": False}], ids=str
)
def test_clipping_is_that_of_diffusers(clip: dict[str, object], images: Tensor) -> None:
    """A network whose x̂₀ leaves [-1, 1] at half of the pixels, ancestral and by DDIM from the clipped x̂₀."""
    denoiser = Denoiser(tiny_unet(), Schedule.from_config(clip))
    noisy, noise, t = 2 * seeded(images.shape), seeded(images.shape, 9), 500
    with torch.no_grad():
        output = denoiser.network(noisy, torch.full((5,), t)).sample
        clean, raw = denoiser.predict_clean(noisy, t)
        theirs = DDPMScheduler(**clip).step(output, t, noisy, generator=torch.Generator().manual_seed(9))  # type: ignore[arg-type]
        ours = ancestral_step(denoiser.schedule, noisy, clean, raw, t, t - 1, lambda: noise)
        ddim = DDIMScheduler(**clip)  # type: ignore[arg-type]
        ddim.set_timesteps(1000)
        walked = ddim.step(output, t, noisy, use_clipped_model_output=True)
    assert float((clean - theirs.pred_original_sample).abs().max()) <= 1e-4
    assert float((ours - theirs.prev_sample).abs().max()) <= 1e-4
    assert float((ddim_step(denoiser.schedule, noisy, clean, t, t - 1) - walked.prev_sample).abs().max()) <= 1e-4
    plain = Denoiser(denoiser.network, Schedule.from_config({})).predict_clean(noisy, t)[0]
    assert float((plain - clean).abs().max()) > 0.1


def test_ancestral_step_over_a_gap_against_float64(learned: Denoiser, images: Tensor) -> None:
    """q(x_s | x_t, x0) for s < t, pixel by pixel: product of the two Gaussians of a two-step chain."""
    t, s, noisy, noise = 300, 260, seeded(images[:1].shape), seeded(images[:1].shape, 1)
    with torch.no_grad():
        clean, raw = learned.predict_clean(noisy, t)
    assert raw is not None
    ours = ancestral_step(learned.schedule, noisy, clean, raw, t, s, lambda: noise)
    bar_t, bar_s = learned.schedule.alpha_bar(t), learned.schedule.alpha_bar(s)
    for index in [(0, 0, 0, 0), (0, 2, 7, 11), (0, 1, 15, 3)]:
        x_t, x_0, v = (float(a[index]) for a in (noisy, clean, raw))
        # x_s ~ N(√bar_s x0, 1 − bar_s) and x_t ~ N(√a x_s, 1 − a): multiply and complete the square
        a = bar_t / bar_s
        precision = 1 / (1 - bar_s) + a / (1 - a)
        mean = (sqrt(bar_s) * x_0 / (1 - bar_s) + sqrt(a) * x_t / (1 - a)) / precision
        variance = exp((v + 1) / 2 * log(1 - a) + (1 - v) / 2 * log(1 / precision))
        assert float(ours[index]) == pytest.approx(mean + sqrt(variance) * float(noise[index]), abs=1e-5)


def test_fixed_variances_by_hand() -> None:
    schedule = Schedule.from_config({"trained_betas": [0.36, 0.75]})
    assert step_variance(schedule, None, 1, 0) == pytest.approx(0.36 / (1 - 0.16) * 0.75)
    large = Schedule.from_config({"trained_betas": [0.36, 0.75], "variance_type": "fixed_large"})
    assert step_variance(large, None, 1, 0) == pytest.approx(0.75)


def test_ddim_step_is_that_of_diffusers(denoiser: Denoiser, images: Tensor) -> None:
    reference = DDIMScheduler(set_alpha_to_one=True)
    reference.set_timesteps(50)
    noisy = seeded(images.shape)
    with torch.no_grad():
        output = denoiser.network(noisy, torch.full((5,), 300)).sample
        theirs = reference.step(output, 300, noisy, use_clipped_model_output=True).prev_sample
        clean, _ = denoiser.predict_clean(noisy, 300)
    assert float((ddim_step(denoiser.schedule, noisy, clean, 300, 280) - theirs).abs().max()) <= 2e-5


def test_walk_ends_at_the_last_clean_prediction(denoiser: Denoiser, images: Tensor) -> None:
    noisy = seeded(images.shape)
    with torch.no_grad():
        once = walk_back(denoiser, noisy, [40], lambda: noisy, "ancestral")
        assert torch.equal(once, denoiser.predict_clean(noisy, 40)[0])
        twice = walk_back(denoiser, noisy, [40, 20], lambda: noisy, "ddim")
        middle = ddim_step(denoiser.schedule, noisy, once, 40, 20)
        assert torch.equal(twice, denoiser.predict_clean(middle, 20)[0])


def test_spread_timesteps_by_hand() -> None:
    assert spread_timesteps(4, None) == [4, 3, 2, 1, 0]
    assert spread_timesteps(4, 10) == [4, 3, 2, 1, 0]
    assert spread_timesteps(145, 1) == [145]
    assert spread_timesteps(10, 3) == [10, 5, 0]
    assert spread_timesteps(4, 4) == [4, 3, 1, 0]

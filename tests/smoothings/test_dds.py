from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from diffusers import DDPMScheduler
from torch import Tensor
from torch.nn import functional

from tests.denoisers.conftest import tiny_unet
from vitfaith.denoisers.denoiser import Denoiser
from vitfaith.denoisers.schedule import Schedule
from vitfaith.errors import ConfigError, InputError
from vitfaith.rng import generator
from vitfaith.smoothings.dds import DdsParameters, noise_level
from vitfaith.smoothings.dds import dds as run_dds
from vitfaith.smoothings.registry import SMOOTHINGS

Build = Callable[..., DdsParameters]

MODES: list[dict[str, object]] = [
    {"mode": "calibrated"},
    {"mode": "calibrated", "size": "network"},
    {"mode": "multistep", "steps": 4},
    {"mode": "multistep", "sampler": "ddim", "steps": 3},
    {"mode": "multistep", "sigma": 4 / 255},
    {"mode": "noise_only"},
    {"mode": "denoise_only"},
    {"mode": "official", "sigma": 4 / 255},
    {"mode": "official", "sigma": 1 / 255},
    {"mode": "official_noise_only", "sigma": 8 / 255},
    {"mode": "official_denoise_only", "sigma": 4 / 255},
]


def smooth(
    denoiser: Denoiser, images: Tensor, parameters: DdsParameters, samples: range = range(2), *, batch_size: int = 64
) -> Tensor:
    ids = [f"image-{i}" for i in range(len(images))]
    return run_dds(denoiser, images, ids, parameters, samples, seed=11, batch_size=batch_size)


def test_import_is_free_of_torch() -> None:
    code = "import sys, vitfaith.smoothings.dds, vitfaith.denoisers.schedule; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("settings", MODES, ids=str)
def test_a_batch_is_a_stack_of_singles(
    denoiser: Denoiser, images: Tensor, dds: Build, settings: dict[str, object]
) -> None:
    parameters = dds(**settings)
    whole = smooth(denoiser, images, parameters, range(3))
    assert whole.shape == (5, 3, 3, 16, 16)
    assert whole.dtype == torch.float32
    assert float(whole.min()) >= 0
    assert float(whole.max()) <= 1
    order = [3, 0, 4]
    again = run_dds(denoiser, images[order], [f"image-{i}" for i in order], parameters, range(3), seed=11, batch_size=2)
    assert float((again - whole[order]).abs().max()) <= 1e-5


@pytest.mark.parametrize("settings", MODES, ids=str)
def test_samples_are_nested(denoiser: Denoiser, images: Tensor, dds: Build, settings: dict[str, object]) -> None:
    parameters = dds(**settings)
    whole = smooth(denoiser, images[:2], parameters, range(4))
    first, rest = (
        smooth(denoiser, images[:2], parameters, range(1)),
        smooth(denoiser, images[:2], parameters, range(1, 4)),
    )
    assert float((torch.cat([first, rest], 1) - whole).abs().max()) <= 1e-5
    random = parameters.mode != "denoise_only"
    assert bool((whole[:, 0] != whole[:, 1]).any()) == random
    other = run_dds(denoiser, images[:2], ["image-0", "image-1"], parameters, range(4), seed=12, batch_size=64)
    assert bool((other != whole).any()) == random


def test_calibrated_against_the_textbook(denoiser: Denoiser, images: Tensor, dds: Build) -> None:
    """Carlini et al. 2023 in float64, image by image and sample by sample; the network call alone is float32."""
    ours = smooth(denoiser, images, dds(sigma=0.25))
    betas = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    for i in range(len(images)):
        for sample in range(2):
            alpha_bar, t = 1 - float(betas[0]), 0
            while ((1 - alpha_bar) / alpha_bar) ** 0.5 < 2 * 0.25:
                t += 1
                alpha_bar *= 1 - float(betas[t])
            assert t == 145
            epsilon = torch.randn(images[i].shape, generator=generator(11, f"image-{i}", "dds", sample)).double()
            x_t = alpha_bar**0.5 * (2 * images[i].double() - 1) + (1 - alpha_bar) ** 0.5 * epsilon
            with torch.no_grad():
                predicted = denoiser.network(x_t[None].float(), torch.tensor([t])).sample[0].double()
            x_0 = ((x_t - (1 - alpha_bar) ** 0.5 * predicted) / alpha_bar**0.5).clamp(-1, 1)
            assert float((ours[i, sample] - (x_0 + 1) / 2).abs().max()) <= 1e-5


def test_noise_only_has_the_asked_size(denoiser: Denoiser, dds: Build) -> None:
    grey = torch.full((1, 3, 64, 64), 0.5)
    for settings, expected in (
        ({"mode": "noise_only", "sigma": 0.05}, 0.05),
        ({"mode": "official_noise_only", "sigma": 0.05}, 0.025),
    ):
        parameters = dds(**settings)
        noise = smooth(denoiser, grey, parameters, range(4)) - 0.5
        assert float(noise.std()) == pytest.approx(expected, rel=0.03)
        assert noise_level(denoiser.schedule, parameters).added == expected


def test_multistep_is_the_diffusers_chain(denoiser: Denoiser, images: Tensor, dds: Build) -> None:
    """Every step of DDPMScheduler from t* down, fed with the keyed noise."""
    sigma, image = 4 / 255, images[:1]
    ours = smooth(denoiser, image, dds(mode="multistep", sigma=sigma), range(1))[0]
    reference = DDPMScheduler()
    source = generator(11, "image-0", "dds", 0)

    def draw() -> Tensor:
        return torch.randn(image.shape[1:], generator=source)[None]

    with torch.no_grad():
        current = reference.add_noise(2 * image - 1, draw(), torch.tensor([6]))  # type: ignore[arg-type]
        for t in range(6, -1, -1):
            output = denoiser.network(current, torch.tensor([t])).sample
            step = reference.step(output, t, current, generator=torch.Generator().manual_seed(t))
            current = step.prev_sample
            if t:  # replace the noise that diffusers drew by the keyed one
                theirs = torch.randn(image.shape, generator=torch.Generator().manual_seed(t))
                current = current + reference._get_variance(t) ** 0.5 * (draw() - theirs)
    assert float((ours - (current + 1) / 2).abs().max()) <= 5e-5  # diffusers' 1 − ᾱ in float32


def test_official_against_a_transcript_of_the_published_steps(learned: Denoiser, dds: Build) -> None:
    """δ = 4/255: t* = 8 indices of the chain respaced to 250; per index the respaced β of guided-diffusion."""
    delta, image = 4 / 255, torch.rand(1, 3, 14, 14, generator=torch.Generator().manual_seed(5))
    ours = smooth(learned, image, dds(mode="official", sigma=delta), range(1))[0]
    source = generator(11, "image-0", "dds", 0)

    def draw(size: int) -> Tensor:
        return torch.randn(3, size, size, generator=source)[None].double()

    betas = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    bars = torch.cumprod(1 - betas, 0)
    kept = [round(i * 999 / 249) for i in range(250)]
    new_betas, last = [], 1.0
    for k in kept:
        new_betas.append(1 - float(bars[k]) / last)
        last = float(bars[k])

    x = functional.interpolate(2 * image - 1, (16, 16), mode="bilinear", align_corners=False).double()
    steps = 8
    current = (1 - float(betas[steps - 1])) ** 0.5 * (x + delta * draw(16))
    bar = torch.cumprod(1 - torch.tensor(new_betas, dtype=torch.float64), 0)
    for i in reversed(range(steps)):
        with torch.no_grad():
            output = learned.network(current.float(), torch.tensor([kept[i]])).sample.double()
        epsilon, v = output.split(3, 1)
        x_0 = ((current - (1 - bar[i]).sqrt() * epsilon) / bar[i].sqrt()).clamp(-1, 1)
        if i == 0:
            current = x_0
            break
        beta, previous = new_betas[i], bar[i - 1]
        small = beta * (1 - previous) / (1 - bar[i])
        mean = beta * previous.sqrt() / (1 - bar[i]) * x_0
        mean = mean + (1 - previous) * (1 - torch.tensor(beta)).sqrt() / (1 - bar[i]) * current
        log_variance = (v + 1) / 2 * torch.tensor(beta).double().log() + (1 - (v + 1) / 2) * small.log()
        current = mean + (0.5 * log_variance).exp() * draw(16)
    back = functional.interpolate(current.float(), (14, 14), mode="bilinear", align_corners=False).double()
    expected = ((back + delta * draw(14)).clamp(-1, 1) + 1) / 2
    assert float((ours - expected).abs().max()) <= 2e-5


@pytest.mark.parametrize(
    ("settings", "calls"),
    [
        ({"mode": "calibrated"}, 1),
        ({"mode": "denoise_only"}, 1),
        ({"mode": "noise_only"}, 0),
        ({"mode": "multistep", "steps": 4}, 4),
        ({"mode": "multistep", "sigma": 4 / 255}, 7),
        ({"mode": "official", "sigma": 8 / 255}, 45),
        ({"mode": "official", "sigma": 2 / 255}, 0),
    ],
    ids=str,
)
def test_cost(denoiser: Denoiser, images: Tensor, dds: Build, settings: dict[str, object], calls: int) -> None:
    """Network calls per image and sample as announced, in full batches over images × samples, the last one filled up."""
    parameters = dds(**settings)
    rows: list[int] = []
    handle = denoiser.network.register_forward_hook(lambda _m, inputs, _o: rows.append(len(inputs[0])))
    try:
        smooth(denoiser, images, parameters, range(3), batch_size=4)
    finally:
        handle.remove()
    assert noise_level(denoiser.schedule, parameters).calls == calls
    assert rows == [n for n in (4, 4, 4, 4) for _ in range(calls)]


def test_the_record_of_the_noise(denoiser: Denoiser, dds: Build) -> None:
    level = noise_level(denoiser.schedule, dds(sigma=0.25))
    assert level.timestep == 145
    assert 0.25 <= level.added == level.assumed < 0.253
    official = noise_level(denoiser.schedule, dds(mode="official", sigma=8 / 255))
    assert official.added == pytest.approx(4 / 255)
    assert official.assumed / official.added == pytest.approx(20, rel=0.01)  # the published defect


def test_network_size_and_other_sizes(denoiser: Denoiser, dds: Build) -> None:
    images = torch.rand(2, 3, 24, 20)
    sizes: list[torch.Size] = []
    handle = denoiser.network.register_forward_hook(lambda _m, inputs, _o: sizes.append(inputs[0].shape[-2:]))
    try:
        assert smooth(denoiser, images, dds(size="network")).shape == (2, 2, 3, 24, 20)
        assert smooth(denoiser, images, dds()).shape == (2, 2, 3, 24, 20)
    finally:
        handle.remove()
    assert sizes == [(16, 16), (24, 20)]
    with pytest.raises(InputError, match="set size: network"):
        smooth(denoiser, images[..., :19], dds())
    assert smooth(denoiser, images[..., :19], dds(size="network")).shape[-1] == 19


def test_result_can_be_differentiated_by_others(denoiser: Denoiser, images: Tensor, dds: Build) -> None:
    expected = smooth(denoiser, images, dds())
    with torch.inference_mode():
        inside = smooth(denoiser, images.clone(), dds())
    assert torch.equal(inside, expected)
    assert not inside.is_inference()
    assert not expected.requires_grad


def test_generators_of_others_are_untouched(denoiser: Denoiser, images: Tensor, dds: Build) -> None:
    before = torch.get_rng_state()
    smooth(denoiser, images, dds())
    assert torch.equal(before, torch.get_rng_state())


def test_bad_settings_are_named(denoiser: Denoiser, images: Tensor, dds: Build) -> None:
    with pytest.raises(ConfigError, match="'steps' belongs to mode multistep, not calibrated"):
        dds(steps=3)
    with pytest.raises(ConfigError, match="'sampler' belongs to mode multistep"):
        dds(sampler="ddim", mode="official")
    with pytest.raises(ConfigError, match=r"largest possible sigma is 78\.7"):
        smooth(denoiser, images, dds(sigma=100))
    with pytest.raises(ConfigError, match="largest possible sigma in the official mode"):
        smooth(denoiser, images, dds(sigma=0.25, mode="official"))
    with pytest.raises(InputError, match="NaN"):
        smooth(denoiser, images * float("nan"), dds())
    with pytest.raises(InputError, match=r"not in \[0, 1\]"):
        smooth(denoiser, images * 255, dds())
    with pytest.raises(InputError, match=r"takes 3 channel"):
        smooth(denoiser, images[:, :1], dds())
    with pytest.raises(InputError, match="image_ids"):
        run_dds(denoiser, images, ["a"], dds(), range(1), seed=0, batch_size=1)
    unsized = Denoiser(tiny_unet(size=None), Schedule.from_config({}))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="set size: image"):
        smooth(unsized, images, dds(size="network"))


def test_defaults_by_mode(dds: Build) -> None:
    assert dds().map_aggregation == "mean"
    assert dds(mode="official").map_aggregation == "percentile_max"
    assert dds(mode="official", aggregation="mean").map_aggregation == "mean"
    assert not dds().network_size
    assert dds(mode="official").network_size
    assert not dds(mode="official", size="image").network_size


def test_registered_functions(denoiser: Denoiser, images: Tensor, dds: Build) -> None:
    ids = [f"image-{i}" for i in range(5)]
    none, entry = SMOOTHINGS["none"], SMOOTHINGS["dds"]
    untouched = none.implementation(None, images, ids, none.parameters(), range(1), seed=0, batch_size=2)
    assert torch.equal(untouched[:, 0], images)
    result = entry.implementation(denoiser, images, ids, dds(), range(2), seed=11, batch_size=64)
    assert torch.equal(result, smooth(denoiser, images, dds()))

"""OpenAI's networks: golden outputs of the published code, and every variant against the textbook."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from vitfaith.denoisers.adm import build_network, convert, load_adm
from vitfaith.denoisers.adm_settings import LEVELS, PRESETS, AdmSettings, adm_settings
from vitfaith.denoisers.denoiser import Denoiser
from vitfaith.errors import ArtifactError, ConfigError, VitfaithError

from .adm_textbook import Recorder, textbook

DATA = Path(__file__).parents[1] / "data"
TINY = {"image_size": 16, "num_channels": 32, "num_res_blocks": 1, "channel_mult": "1,2", "attention_resolutions": "8"}


def golden(name: str) -> tuple[AdmSettings, dict[str, Tensor], dict[str, Tensor]]:
    path = DATA / f"{name}.safetensors"
    with safe_open(path, framework="pt") as handle:
        flags = json.loads(handle.metadata()["config"])
    known = {k: v for k, v in flags.items() if k in AdmSettings.model_fields}
    arrays = load_file(path)
    state = {k.removeprefix("weights."): v for k, v in arrays.items() if k.startswith("weights.")}
    return AdmSettings.model_validate(known), state, arrays


def relative(found: Tensor, expected: Tensor) -> float:
    return float((found.double() - expected.double()).abs().max() / expected.double().abs().max())


@pytest.mark.parametrize("name", ["adm_unconditional", "adm_improved_cifar"])
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_golden_networks(name: str, suffix: str, tmp_path: Path) -> None:
    settings, state, arrays = golden(name)
    path = tmp_path / f"published{suffix}"
    torch.save(state, path) if suffix == ".pt" else save_file(state, path)
    network = load_adm(path, settings).eval()
    with torch.no_grad():
        found = network(arrays["input"], arrays["timesteps"]).sample
    assert relative(found, arrays["output"]) <= 1e-5
    assert not any(p.is_meta for p in network.parameters())


@pytest.mark.parametrize("name", ["adm_unconditional", "adm_improved_cifar"])
def test_the_textbook_is_the_published_network(name: str) -> None:
    settings, state, arrays = golden(name)
    found = textbook(lambda n, _: state[n].double(), settings, arrays["input"], arrays["timesteps"], None)
    assert relative(found, arrays["output"]) <= 1e-5


VARIANTS: dict[str, dict[str, Any]] = {
    "older attention": {},
    "newer attention": {"use_new_attention_order": True},
    "heads by width, all levels": {"num_head_channels": 16, "attention_resolutions": "16,8"},
    "heads by number, all levels": {"num_heads": 2, "attention_resolutions": "16,8"},
    "other heads upward": {"num_heads": 4, "num_heads_upsample": 2},
    "newer attention, heads by number": {
        "num_heads": 2,
        "attention_resolutions": "16,8",
        "use_new_attention_order": True,
    },
    "added timestep": {"use_scale_shift_norm": False},
    "residual resampling": {"resblock_updown": True},
    "residual resampling, attention above": {"resblock_updown": True, "attention_resolutions": "16"},
    "classes": {"class_cond": True, "num_classes": 7},
    "narrow first level": {"num_channels": 64, "channel_mult": "0.5,1"},
    "three levels, two blocks": {"channel_mult": "1,1,2", "num_res_blocks": 2, "attention_resolutions": "8,4"},
    "fixed variance, grey": {"learn_sigma": False, "image_channels": 1},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_variants_against_the_textbook(variant: str) -> None:
    settings = AdmSettings.model_validate({**TINY, **VARIANTS[variant]})
    weights, source = Recorder(len(variant)), torch.Generator().manual_seed(1)
    images = torch.randn(2, settings.image_channels, 16, 16, generator=source)
    told, labels = torch.tensor([3, 700]), torch.tensor([6, 2]) if settings.class_cond else None
    expected = textbook(weights, settings, images, told, labels)
    network = build_network(settings).eval()
    network.load_state_dict(convert(weights.state, settings), strict=True, assign=True)
    with torch.no_grad():
        found = network(images, told, *([] if labels is None else [labels])).sample
    assert relative(found, expected) <= 1e-5
    assert float(found.std()) > 0.1  # random weights, an output that could be wrong


def test_denoiser_from_a_checkpoint(tmp_path: Path) -> None:
    """Noise, schedule, rescaled timesteps and learned variance, against the closed form on the golden network."""
    settings, state, arrays = golden("adm_improved_cifar")
    path = tmp_path / "cifar.pt"
    torch.save({"state_dict": {f"module.{k}": v.half() if v.ndim > 1 else v for k, v in state.items()}}, path)
    flags = {**settings.model_dump(), "diffusion_steps": 4000, "noise_schedule": "cosine", "rescale_timesteps": True}
    denoiser = Denoiser.load(path, {"format": "adm", "arguments": flags})
    assert denoiser.schedule.length == 4000
    assert denoiser.schedule.variance == "learned_range"
    assert (denoiser.size, denoiser.divisor, denoiser.channels) == ((32, 32), 2, 3)
    assert all(p.dtype == torch.float32 and not p.requires_grad for p in denoiser.network.parameters())
    noisy, timestep = arrays["input"], 1602
    half = {k: v.half().float() if v.ndim > 1 else v for k, v in state.items()}
    told = torch.full((3,), timestep * 0.25)
    output = textbook(lambda n, _: half[n].double(), settings, noisy, told, None)
    with torch.no_grad():
        clean, variance = denoiser.predict_clean(noisy, timestep, clip=False)
    bar = denoiser.schedule.alpha_bar(timestep)
    assert relative(clean, (noisy.double() - (1 - bar) ** 0.5 * output[:, :3]) / bar**0.5) <= 1e-4
    assert variance is not None
    assert relative(variance, output[:, 3:]) <= 1e-4


def test_flags_without_effect_are_accepted() -> None:
    """The flags that the published scripts are called with, and those that only training reads."""
    idle = {
        "dropout": 0.1, "use_checkpoint": True, "use_fp16": True, "use_kl": False, "rescale_learned_sigmas": True,
        "timestep_respacing": "",
    }  # fmt: skip
    assert AdmSettings.model_validate(TINY | idle) == AdmSettings.model_validate(TINY)
    whole = AdmSettings.model_validate({**TINY, "diffusion_steps": 250, "timestep_respacing": "250"})
    assert whole == AdmSettings.model_validate({**TINY, "diffusion_steps": 250})


def test_flags_of_sampling_are_honoured_or_refused() -> None:
    from vitfaith.denoisers.schedule import Schedule

    def schedule(**flags: object) -> Schedule:
        return Schedule.from_config(AdmSettings.model_validate({**TINY, **flags}).scheduler)

    assert schedule(learn_sigma=False).variance == "fixed_large"
    assert schedule(learn_sigma=False, sigma_small=True).variance == "fixed_small"
    assert schedule().clip == 1
    assert schedule(clip_denoised=False).clip is None
    with pytest.raises(ConfigError, match="timestep_respacing belongs to the smoothing"):
        AdmSettings.model_validate({**TINY, "timestep_respacing": "ddim25"})


@pytest.mark.parametrize("steps", [1000, 4000])
@pytest.mark.parametrize("kind", ["linear", "cosine"])
def test_published_schedules(kind: str, steps: int) -> None:
    """Linear betas are those of 1000 steps, rescaled (Nichol & Dhariwal 2021, §2.3); cosine is their eq. 17."""
    from math import cos, pi

    from vitfaith.denoisers.schedule import Schedule

    settings = AdmSettings.model_validate({**TINY, "diffusion_steps": steps, "noise_schedule": kind})
    schedule = Schedule.from_config(settings.scheduler)
    bar = 1.0
    for t in range(steps):
        if kind == "linear":
            beta = 1000 / steps * (1e-4 + (0.02 - 1e-4) * t / (steps - 1))
        else:
            now, then = (cos((i / steps + 0.008) / 1.008 * pi / 2) ** 2 for i in (t, t + 1))
            beta = min(1 - then / now, 0.999)
        bar *= 1 - beta
        if t % 37 == 0 or t == steps - 1:
            assert schedule.alpha_bar(t) == pytest.approx(bar, rel=1e-9)
    assert schedule.linear == (kind == "linear")
    assert settings.timestep_scale == 1
    assert settings.model_copy(update={"rescale_timesteps": True}).timestep_scale == 1000 / steps


def test_class_labels(tmp_path: Path) -> None:
    settings = AdmSettings.model_validate({**TINY, "class_cond": True, "num_classes": 5})
    weights, noisy = Recorder(0), torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(2))
    expected = textbook(weights, settings, noisy, torch.tensor([10, 10]), torch.tensor([4, 4]))[:, :3]
    path = tmp_path / "conditional.safetensors"
    save_file(weights.state, path)
    entry = {"format": "adm", "arguments": settings.model_dump()}
    denoiser = Denoiser.load(path, {**entry, "class_label": 4})
    with torch.no_grad():
        clean, _ = denoiser.predict_clean(noisy, 10, clip=False)
    schedule = denoiser.schedule
    assert relative(clean, (noisy - schedule.noise(10) * expected) / schedule.signal(10)) <= 1e-5
    for label in (None, 5, -1):
        with pytest.raises(ConfigError, match="conditional on 5 classes; set class_label to one of 0 … 4"):
            Denoiser.load(path, {**entry, "class_label": label})


def test_every_preset_builds_a_network() -> None:
    """Sizes as the model cards and papers give them: 552 M parameters for 256 × 256, 50 M for CIFAR-10."""
    millions = {}
    for name in PRESETS:
        settings = adm_settings(name, {})
        network = build_network(settings)
        millions[name] = sum(p.numel() for p in network.parameters()) / 1e6
        assert len(settings.levels) == len(LEVELS[settings.image_size])
    assert millions["imagenet_256_uncond"] == pytest.approx(552.8, abs=0.1)
    assert millions["imagenet_256_cond"] == pytest.approx(553.8, abs=0.1)
    assert millions["imagenet_128_cond"] == pytest.approx(422, abs=1)
    assert millions["imagenet_64_cond"] == pytest.approx(296, abs=1)
    assert millions["imagenet_512_cond"] == pytest.approx(559, abs=1)
    assert millions["cifar10_uncond"] == pytest.approx(52.5, abs=0.5)
    assert millions["imagenet_64_uncond"] == pytest.approx(121, abs=1)
    assert millions["imagenet_64_cond_improved"] == pytest.approx(273, abs=3)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            {"num_res_blocks": 2},
            r"weights '.*' do not fit the model: \d+ missing: .*, ….* choose the checkpoint's preset",
        ),
        ({"resblock_updown": True}, "missing: .*unexpected: input_blocks.2.0.op"),
        ({"learn_sigma": False}, r"of another shape: conv_out\.weight \(6×32×3×3, the model has 3×32×3×3\)"),
        ({"num_channels": 64}, "of another shape"),
        ({"attention_resolutions": "16,8"}, "missing: .*attentions"),
        ({"class_cond": True}, r"missing: class_embedding\.weight"),
        ({"num_channels": 48}, "must be a multiple of 32"),
        ({"num_heads": 5}, "64 channels do not divide into heads"),
        ({"image_size": 15}, "cannot be halved 1 times"),
    ],
)
def test_flags_that_do_not_fit(flags: dict[str, Any], message: str, tmp_path: Path) -> None:
    settings = AdmSettings.model_validate(TINY)
    weights = Recorder(0)
    textbook(weights, settings, torch.zeros(1, 3, 16, 16), torch.tensor([0]), None)
    path = tmp_path / "tiny.safetensors"
    save_file(weights.state, path)
    for shapes_only in (False, True):
        with pytest.raises(VitfaithError, match=message):
            load_adm(path, AdmSettings.model_validate({**TINY, **flags}), shapes_only=shapes_only)
    assert all(p.is_meta for p in load_adm(path, settings, shapes_only=True).parameters())


def test_wrong_settings_and_files(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown preset 'imagenet_256_uncnd' \(did you mean 'imagenet_256_uncond'"):
        adm_settings("imagenet_256_uncnd", {})
    with pytest.raises(ConfigError, match="image_size 48 has no published channel_mult"):
        adm_settings(None, {"image_size": 48})
    with pytest.raises(ValidationError, match="num_chanels"):
        adm_settings(None, {"num_chanels": 48})
    assert AdmSettings.model_validate({"num_head_channels": -1}).num_head_channels is None
    with pytest.raises(ArtifactError, match=r"absent\.pt' cannot be read"):
        load_adm(tmp_path / "absent.pt", AdmSettings())

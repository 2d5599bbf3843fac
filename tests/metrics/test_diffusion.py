"""In-fill by a denoiser: a slow loop, diffusers' RePaint, priors whose answer is known, and the laws."""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers.schedulers import scheduling_repaint
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.denoisers.conftest import tiny_unet
from tests.files import IDS, ShardOnDisk
from vitfaith.artifacts.paths import Condition
from vitfaith.artifacts.store import read_provenance
from vitfaith.check.counting import passes_of
from vitfaith.denoisers.denoiser import Denoiser
from vitfaith.denoisers.schedule import Schedule
from vitfaith.errors import ConfigError, InputError
from vitfaith.metrics.common import CurveParameters
from vitfaith.metrics.context import ScoreContext
from vitfaith.metrics.engine.engine import Engine
from vitfaith.metrics.engine.requests import Full
from vitfaith.metrics.fills.diffusion import DiffusionParameters, infill
from vitfaith.metrics.fills.registry import prepare_fill
from vitfaith.models.passes import PassCounter
from vitfaith.rng import generator
from vitfaith.study.jobs import jobs
from vitfaith.study.load import load_study
from vitfaith.study.metric_inputs import infilled, infilled_bank
from vitfaith.study.plan import Plan

FILL = {"name": "diffusion", "denoiser": "tiny", "steps": 3, "resamples": 2}
DRAWN = CurveParameters(fill=FILL).fill


class Known(nn.Module):
    """A network that predicts the mean of x₀ given x_t, for pixels of one Gaussian with ``mean`` and ``covariance``."""

    def __init__(self, schedule: Schedule, mean: Tensor, covariance: Tensor) -> None:
        super().__init__()
        size = len(mean)
        self.config = SimpleNamespace(
            in_channels=1, out_channels=1, sample_size=(1, size), block_out_channels=(1,), class_embed_type=None,
            num_class_embeds=None,
        )  # fmt: skip
        self.schedule, self.mean, self.covariance = schedule, nn.Parameter(mean), covariance

    def forward(self, noisy: Tensor, steps: Tensor) -> SimpleNamespace:
        t = int(steps[0])
        signal, noise = self.schedule.signal(t), self.schedule.noise(t)
        total = signal**2 * self.covariance + noise**2 * torch.eye(len(self.mean))
        gain = signal * self.covariance @ torch.linalg.inv(total)
        return SimpleNamespace(sample=self.mean + (noisy - signal * self.mean) @ gain.T)


def known(mean: Tensor, covariance: Tensor) -> Denoiser:
    schedule = Schedule.from_config({"prediction_type": "sample", "num_train_timesteps": 200, "beta_end": 0.1})
    return Denoiser(Known(schedule, mean, covariance), schedule)


def chosen(**changes: Any) -> DiffusionParameters:
    return DiffusionParameters(**{key: value for key, value in {**FILL, **changes}.items() if key != "name"})


def drawn(shape: tuple[int, ...], seed: int = 0) -> Callable[[], Tensor]:
    source = torch.Generator().manual_seed(seed)
    return lambda: torch.randn(shape, generator=source)


def slow_infill(
    denoiser: Denoiser, images: Tensor, removed: Tensor, noise: Any, parameters: DiffusionParameters
) -> Tensor:
    """Algorithm 1 of RePaint pixel by pixel, in float64 but for the network; timesteps spread from T − 1 to 0."""
    last, bars = denoiser.schedule.length - 1, denoiser.schedule.alphas_cumprod
    steps = sorted({round(last * i / (parameters.steps - 1)) for i in range(parameters.steps)}, reverse=True)
    places = [(n, c, y, x) for n in range(len(images)) for c in range(3) for y in range(16) for x in range(16)]
    x0, state, field = 2 * images.double() - 1, torch.zeros_like(images).double(), noise().double()
    for n, c, y, x in places:
        bar = bars[steps[0]]
        known_part = sqrt(bar) * x0[n, c, y, x] + sqrt(1 - bar) * field[n, c, y, x]
        state[n, c, y, x] = field[n, c, y, x] if removed[n, y, x] else known_part
    for i, t in enumerate(steps):
        bar, before = bars[t], bars[steps[i + 1]] if i + 1 < len(steps) else 1.0
        for turn in range(parameters.resamples):
            predicted = denoiser.predict_clean(state.float(), t)[0].double()
            field, after = noise().double(), torch.zeros_like(state)
            for n, c, y, x in places:
                if not removed[n, y, x]:
                    after[n, c, y, x] = sqrt(before) * x0[n, c, y, x] + sqrt(1 - before) * field[n, c, y, x]
                elif parameters.sampler == "ddim":
                    epsilon = (state[n, c, y, x] - sqrt(bar) * predicted[n, c, y, x]) / sqrt(1 - bar)
                    after[n, c, y, x] = sqrt(before) * predicted[n, c, y, x] + sqrt(1 - before) * epsilon
                else:
                    alpha = bar / before
                    mean = sqrt(before) * (1 - alpha) * predicted[n, c, y, x]
                    mean = (mean + sqrt(alpha) * (1 - before) * state[n, c, y, x]) / (1 - bar)
                    variance = (1 - before) / (1 - bar) * (1 - alpha)
                    after[n, c, y, x] = mean + sqrt(variance) * field[n, c, y, x]
            state = after
            if turn + 1 < parameters.resamples:
                state = sqrt(bar / before) * state + sqrt(1 - bar / before) * noise().double()
    filled = ((state + 1) / 2).clamp(0, 1)
    return torch.where(removed[:, None], filled, images.double())


@pytest.fixture(scope="module")
def unet() -> Denoiser:
    return Denoiser(tiny_unet(), Schedule.from_config({}))


@pytest.fixture
def removed() -> Tensor:
    return torch.rand(5, 16, 16, generator=torch.Generator().manual_seed(4)) < 0.4


@pytest.mark.parametrize(("sampler", "resamples"), [("ancestral", 2), ("ddim", 1), ("ddim", 3)])
def test_against_a_slow_loop(unet: Denoiser, images: Tensor, removed: Tensor, sampler: str, resamples: int) -> None:
    parameters = chosen(sampler=sampler, resamples=resamples)
    with torch.no_grad():
        found = infill(unet, images[:2], removed[:2], drawn((2, 3, 16, 16)), parameters)
        expected = slow_infill(unet, images[:2], removed[:2], drawn((2, 3, 16, 16)), parameters)
    assert torch.allclose(found.double(), expected, atol=1e-5)


def test_against_the_scheduler_of_diffusers(images: Tensor, removed: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same network, masks and noise through RePaintScheduler, deterministic steps, no resampling."""
    config = {"num_train_timesteps": 20, "beta_end": 0.2}
    unet = Denoiser(tiny_unet(), Schedule.from_config(config))
    shape = (5, 3, 16, 16)
    with torch.no_grad():
        found = infill(unet, images, removed, drawn(shape), chosen(steps=20, resamples=1, sampler="ddim"))
        theirs = scheduling_repaint.RePaintScheduler(**config, eta=0.0, clip_sample=True)
        theirs.set_timesteps(20, jump_length=1, jump_n_sample=1)
        noise = drawn(shape)
        monkeypatch.setattr(scheduling_repaint, "randn_tensor", lambda *_, **__: noise())
        signed, keep = 2 * images - 1, (~removed)[:, None].float()
        field = noise()
        state = torch.where(removed[:, None], field, unet.add_noise(signed, field, 19))
        for t in theirs.timesteps:
            clean, _ = unet.predict_clean(state, int(t))
            # their direction is not of the clipped prediction: hand over the noise that belongs to it
            epsilon = (state - unet.schedule.signal(int(t)) * clean) / unet.schedule.noise(int(t))
            state = theirs.step(epsilon, t, state, signed, keep).prev_sample
    expected = torch.where(removed[:, None], ((state + 1) / 2).clamp(0, 1), images)
    assert torch.allclose(found, expected, atol=1e-5)


def test_draws_independent_pixels_from_their_distribution() -> None:
    """Pixels that know nothing of each other: what is drawn has the prior's mean and deviation.

    By deterministic steps, which are exact in the limit; the posterior variance of ancestral ones is that of a known image.
    """
    mean, spread = torch.tensor([0.3, -0.2]), 0.15
    denoiser = known(mean, spread**2 * torch.eye(2))
    images, removed = torch.full((4000, 1, 1, 2), 0.5), torch.tensor([True, False]).expand(4000, 1, 2)
    with torch.no_grad():
        found = infill(
            denoiser, images, removed, drawn((4000, 1, 1, 2)), chosen(steps=200, resamples=1, sampler="ddim")
        )
    pixel = 2 * found[:, 0, 0, 0] - 1
    assert float(pixel.mean()) == pytest.approx(0.3, abs=0.01)
    assert float(pixel.std()) == pytest.approx(spread, rel=0.05)
    assert torch.equal(found[..., 1], images[..., 1])


def test_resampling_makes_removed_pixels_fit_the_others() -> None:
    """Two correlated pixels: with resampling, the mean given the kept one comes near the exact one, from the prior's."""
    spread, correlation, kept = 0.2, 0.9, 0.4
    denoiser = known(torch.zeros(2), spread**2 * torch.tensor([[1, correlation], [correlation, 1]]))
    images = torch.tensor([0.5, (kept + 1) / 2]).expand(2000, 1, 1, 2).contiguous()
    removed = torch.tensor([True, False]).expand(2000, 1, 2)
    error = {}
    for times in (1, 20):
        with torch.no_grad():
            found = infill(denoiser, images, removed, drawn((2000, 1, 1, 2)), chosen(steps=60, resamples=times))
        error[times] = abs(float((2 * found[:, 0, 0, 0] - 1).mean()) - correlation * kept)
    assert error[20] < 0.03
    assert error[20] < error[1] / 2


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**16), st.floats(0, 1), st.sampled_from(["ddim", "ancestral"]))
def test_laws(seed: int, share: float, sampler: str) -> None:
    """What stays has its bits, what was removed has no part in the result, all is in [0, 1]."""
    unet = Denoiser(tiny_unet(), Schedule.from_config({}))
    source = torch.Generator().manual_seed(seed)
    images, other = torch.rand(2, 2, 3, 16, 16, generator=source)
    removed = torch.rand(2, 16, 16, generator=source) < share
    for size in ("image", "network"):
        unet.size = (8, 8)
        with torch.no_grad():
            found, same = (
                infill(unet, start, removed, drawn((2, 3, *((8, 8) if size == "network" else (16, 16)))),
                       chosen(sampler=sampler, size=size))
                for start in (images, torch.where(removed[:, None], other, images))
            )  # fmt: skip
        kept = ~removed[:, None].expand_as(images)
        assert torch.equal(found[kept], images[kept])
        assert torch.equal(found, same)
        assert float(found.min()) >= 0
        assert float(found.max()) <= 1


def context_of(vit: Any, images: Tensor, ids: list[str], **extras: Any) -> ScoreContext:
    maps, usable = torch.zeros(len(images), 1, 4, 4), torch.ones(len(images), 1, dtype=torch.bool)
    return ScoreContext(vit, images, torch.zeros(len(images)).long(), ids, ("m",), maps, usable, 3, extras=extras)


def test_as_a_fill(vit: Any, unet: Denoiser, images: Tensor) -> None:
    """One noise an image, whatever the mask and the batch; steps × resamples network calls for each perturbed image."""
    impute = prepare_fill(DRAWN, context_of(vit, images, IDS, denoiser=unet))
    removed = torch.zeros(3, 16, 16, dtype=torch.bool)
    removed[:, :8] = True
    index = torch.tensor([4, 1, 4])
    with torch.inference_mode():
        found = impute(images[index], removed, index)
        source = generator(3, IDS[4], "fill-diffusion", 0)
        alone = infill(unet, images[4:], removed[:1], lambda: torch.randn(1, 3, 16, 16, generator=source), chosen())
    assert torch.equal(found[0], found[2])
    assert torch.allclose(found[:1], alone, atol=1e-6)
    request = Full(DRAWN)
    with PassCounter(unet.network) as passes:
        whole = Engine(context_of(vit, images, IDS, denoiser=unet), 64).answer([request])[request].probability
    assert passes.forwards == 5 * 3 * 2
    single = Engine(context_of(vit, images[2:3], IDS[2:3], denoiser=unet), 64).answer([request])[request].probability
    assert float(single[0]) == pytest.approx(float(whole[2]), rel=1e-5)
    with pytest.raises(InputError, match="there is no denoiser"):
        prepare_fill(DRAWN, context_of(vit, images, IDS))
    with pytest.raises(ConfigError, match="steps=2000, the schedule has 1000"):
        prepare_fill(CurveParameters(fill={**FILL, "steps": 2000}).fill, context_of(vit, images, IDS, denoiser=unet))
    with pytest.raises(InputError, match="multiples of 2"):
        prepare_fill(DRAWN, context_of(vit, images[..., :15], IDS, denoiser=unet))


def saved(folder: Path, channels: int = 3) -> Path:
    from diffusers.schedulers.scheduling_ddpm import DDPMScheduler

    tiny_unet(channels=channels).save_pretrained(folder / "unet")
    DDPMScheduler().save_pretrained(folder / "scheduler")
    return folder


def test_from_the_configuration_to_scores(shard: ShardOnDisk, tmp_path: Path) -> None:
    """The stages score and bank load the denoiser that the fill names; its settings are part of what jobs depend on."""
    folder = saved(tmp_path / "denoiser")
    shard.denoisers = {"tiny": {"path": str(folder)}}
    shard.metrics = {"saco": {"groups": [2], "fill": FILL}, "single_deletion_score": {"cells": 2, "fill": FILL}}
    bank = shard.bank(denoiser=str(folder))
    scores = shard.score(bank=bank, denoiser=str(folder))
    assert set(scores.metric) == {"saco", "single_deletion_score"}
    assert scores.value.notna().all()
    alone = shard.score(denoiser=str(folder))
    assert (alone.value - scores.value).abs().max() < 1e-5
    assert read_provenance(shard.folder / "scores.parquet")["spec"]["denoiser"]["format"] == "diffusers"
    forwards = read_provenance(shard.folder / "scores.parquet")["forwards"]
    plan = shard.plan
    (job,) = (job for job in jobs(plan) if job.stage == "score")
    counted = passes_of(plan, job)
    assert counted is not None
    # two maps are stored, the study's explainer has one: 2 groups and the shared masks, each drawn by 6 calls
    assert (forwards, counted[0]) == (5 * (1 + (2 * 2 + 4) * 7), 1 + (2 + 4) * 7)
    assert infilled(plan, Condition("d", "m", "clean", "none", "clean_prediction")) == "saco"
    assert infilled_bank(plan, Condition("d", "m", "clean", "none", "clean_prediction")) == "saco"
    assert plan.denoiser("metrics", "saco") == str(folder)
    assert f"{folder}/unet/diffusion_pytorch_model.safetensors" in plan.denoiser_files("metrics", "saco")


def study(**metrics: Any) -> dict[str, Any]:
    axes = {"datasets": ["d"], "models": ["m"], "attacks": ["clean"], "smoothings": ["none"], "explainers": ["random"]}
    return {
        "datasets": {"d": {"reader": "parquet", "path": "x.parquet", "images": 5}},
        "models": {"m": {"timm": "vit_tiny_patch16_224", "weights": "x.safetensors"}},
        "denoisers": {"tiny": {"path": "a"}, "other": {"path": "b"}},
        "attacks": {"clean": {}},
        "smoothings": {"none": {}},
        "explainers": {"random": {}},
        "metrics": metrics,
        "experiments": {"e": {**axes, "metrics": list(metrics)}},
    }


def test_wrong_names_are_told_when_the_configuration_is_read() -> None:
    with pytest.raises(ConfigError, match=r"metrics\.saco\.fill\.denoiser: 'tyni' is not in section denoisers"):
        load_study(study(saco={"fill": {**FILL, "denoiser": "tyni"}}))
    with pytest.raises(ConfigError, match=r"metrics\.saco.*fill 'diffusion': denoiser"):
        load_study(study(saco={"fill": "diffusion"}))
    both = study(saco={"fill": FILL}, deletion_auc={"fill": {**FILL, "denoiser": "other"}})
    with pytest.raises(ConfigError, match="deletion_auc, saco: their fills name several denoisers"):
        infilled(Plan(load_study(both)), Condition("d", "m", "clean", "none", "clean_prediction"))

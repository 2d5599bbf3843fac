from __future__ import annotations

import inspect

import diffusers
import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler
from hypothesis import given, settings
from hypothesis import strategies as st

from vitfaith.denoisers.schedule import Schedule
from vitfaith.denoisers.scheduler_config import HONOURED, NEUTRAL, SUPPORTED, WALK
from vitfaith.errors import ConfigError

LINEAR = Schedule.from_config({})

CONFIGS = [
    {},
    {"num_train_timesteps": 400, "beta_start": 1e-3, "beta_end": 0.05},
    {"beta_schedule": "scaled_linear"},
    {"beta_schedule": "squaredcos_cap_v2", "num_train_timesteps": 4000},
    {"beta_schedule": "sigmoid"},
    {"trained_betas": [0.1, 0.2, 0.3]},
    {"rescale_betas_zero_snr": True},
]


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_alphas_are_those_of_diffusers(config: dict[str, object]) -> None:
    ours, theirs = Schedule.from_config(config), DDPMScheduler(**config)
    assert ours.length == len(theirs.betas)
    assert np.allclose(ours.betas, theirs.betas.double().numpy(), rtol=1e-4, atol=2e-7)
    assert np.allclose(ours.alphas_cumprod, theirs.alphas_cumprod.double().numpy(), rtol=1e-3, atol=1e-6)


def test_golden_timesteps_of_the_reference_scan() -> None:
    """Carlini et al.: t = 0; while √(1−ᾱ[t])/√ᾱ[t] < 2σ: t += 1, where the first look is at index 1, counted from 0."""
    assert [LINEAR.timestep(s) for s in (0.25, 0.5, 1.0)] == [145, 259, 396]
    levels = (2, 4, 6, 8, 10, 12, 16, 24, 32)
    assert [LINEAR.timestep(k / 255) for k in levels] == [2, 6, 11, 15, 20, 25, 35, 54, 73]


@settings(max_examples=60, deadline=None)
@given(st.floats(1e-4, 70))
def test_timestep_is_the_first_that_reaches_sigma(sigma: float) -> None:
    alphas = DDPMScheduler().alphas_cumprod.double()
    t, real = 0, 0.0
    while real < 2 * sigma:
        t += 1
        real = float(torch.sqrt(1 - alphas[t]) / torch.sqrt(alphas[t]))
    found = LINEAR.timestep(sigma)
    assert found == t or abs(real / (2 * sigma) - 1) < 1e-4  # float32 against float64 right at a step
    assert LINEAR.sigma(found) >= sigma
    assert found == 1 or LINEAR.sigma(found - 1) < sigma


def test_a_sigma_beyond_the_schedule_names_the_largest() -> None:
    short = Schedule.from_config({"num_train_timesteps": 100})
    largest = short.sigma(99)
    assert short.timestep(largest * 0.9999) == 99
    with pytest.raises(ConfigError, match=f"largest possible sigma is {largest:.4g}"):
        short.timestep(largest * 1.001)
    zero = Schedule.from_config({"rescale_betas_zero_snr": True})
    with pytest.raises(ConfigError, match=f"largest possible sigma is {zero.sigma(998):.4g}"):
        zero.timestep(1e9)


@pytest.mark.parametrize(
    ("level", "steps", "told"),
    [(1, 0, 0), (2, 0, 0), (3, 3, 0.040), (4, 8, 0.105), (5, 15, 0.196), (7, 34, 0.455), (8, 45, 0.63), (10, 73, 1.17)],
)
def test_official_timesteps(level: int, steps: int, told: float) -> None:
    """The table of the published notebook's formula, and what its respaced chain tells the network at first."""
    assert LINEAR.official_timestep(level / 255) == steps
    if steps:
        assert 2 * LINEAR.sigma(LINEAR.respaced(250)[steps - 1]) == pytest.approx(told, rel=0.015)


def test_official_index_error_is_a_clear_one() -> None:
    assert LINEAR.official_timestep(18.19 / 255) <= 250
    with pytest.raises(ConfigError, match=r"needs 269 official steps.*largest possible sigma.*0.07139 \(18.2/255\)"):
        LINEAR.official_timestep(18.85 / 255)
    with pytest.raises(ConfigError, match="linear schedule"):
        Schedule.from_config({"beta_schedule": "squaredcos_cap_v2"}).official_timestep(0.03)
    with pytest.raises(ConfigError, match="at least 250 steps"):
        Schedule.from_config({"num_train_timesteps": 200}).official_timestep(0.03)


def test_respaced_by_hand() -> None:
    short = Schedule.from_config({"num_train_timesteps": 10})
    assert short.respaced(4) == [0, 3, 6, 9]
    assert short.respaced(10) == list(range(10))
    assert LINEAR.respaced(250)[0] == 0
    assert LINEAR.respaced(250)[-1] == 999
    assert LINEAR.respaced(250)[1:3] == [4, 8]


def test_signal_and_noise_by_hand() -> None:
    schedule = Schedule.from_config({"trained_betas": [0.36, 0.75]})
    assert schedule.signal(-1) == 1
    assert schedule.signal(0) == pytest.approx(0.8)
    assert schedule.noise(0) == pytest.approx(0.6)
    assert schedule.sigma(0) == pytest.approx(0.375)
    assert schedule.signal(1) == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"prediction_type": "epsilom"}, "did you mean 'epsilon'"),
        ({"variance_type": "other"}, "variance_type 'other' is not supported"),
        ({"beta_schedule": "lineal"}, "did you mean 'linear'"),
        ({"thresholding": True}, "thresholding is not supported"),
        ({"beta_schedule": "laplace"}, "beta_schedule 'laplace' is not supported"),
        ({"prediction_type": "flow_prediction"}, "prediction_type 'flow_prediction' is not supported"),
        ({"_class_name": "DPMSolverMultistepScheduler", "use_flow_sigmas": True}, "use_flow_sigmas is not supported"),
        ({"_class_name": "EulerDiscreteScheduler", "timestep_type": "continuous"}, "timestep_type is not supported"),
        ({"clip_sample_range": 0}, "clip_sample_range is 0; it must be above 0"),
        ({"snr_shift_scale": 3.0}, "unknown field 'snr_shift_scale'; remove it if it only chooses how a sampler"),
        ({"beta_stop": 0.1}, r"unknown field 'beta_stop' \(did you mean 'beta_start'"),
        ({"trained_betas": [0.1, -0.2]}, "numbers in"),
    ],
)
def test_unsupported_schedulers(config: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Schedule.from_config(config)


OTHERS = [name for name in dir(diffusers) if name.endswith("Scheduler") and name not in SUPPORTED]


@pytest.mark.parametrize("kind", [*OTHERS, "ScoreSdeVpScheduler", "MyOwnScheduler"])
def test_other_schedulers_are_refused_by_name(kind: str) -> None:
    """Those of noise levels, flows, tokens and consistency models would all be read as 1000 linear betas."""
    with pytest.raises(
        ConfigError, match=rf"scheduler: {kind} has no β-schedule that can be read here.*DDPMScheduler, DD"
    ):
        Schedule.from_config({"_class_name": kind})


def test_the_kinds_that_are_named_in_papers_are_among_the_others() -> None:
    kinds = (
        "ScoreSdeVe",
        "KarrasVe",
        "FlowMatchEulerDiscrete",
        "EDMEuler",
        "EDMDPMSolverMultistep",
        "CMStochasticIterative",
    )
    assert {f"{kind}Scheduler" for kind in kinds} <= set(OTHERS)


@pytest.mark.parametrize("kind", list(SUPPORTED))
def test_every_field_of_a_supported_scheduler_is_honoured_neutral_or_of_the_walk(kind: str) -> None:
    """What diffusers itself writes is read, with the betas of its own class, and so is a config that leaves out defaults."""
    theirs = getattr(diffusers, kind)()
    written = {"_class_name": kind, **theirs.config}
    fields = set(inspect.signature(type(theirs).__init__).parameters) - {"self", "args", "kwargs"}
    assert fields <= HONOURED | set(NEUTRAL) | WALK
    for config in (written, {"_class_name": kind}):
        ours = Schedule.from_config(config)
        assert np.allclose(ours.betas, theirs.betas.double().numpy(), rtol=1e-4, atol=2e-7)
        clips = theirs.config.get("clip_sample", True)
        assert ours.clip == (theirs.config.get("clip_sample_range", 1.0) if clips else None)


@pytest.mark.parametrize("kind", ["HeunDiscreteScheduler", "DPMSolverMultistepScheduler", "PNDMScheduler"])
def test_a_configuration_of_another_class_keeps_its_betas(kind: str) -> None:
    fields = {"beta_schedule": "squaredcos_cap_v2", "prediction_type": "v_prediction"}
    theirs = getattr(diffusers, kind)(**fields)
    ours = Schedule.from_config({"_class_name": kind, **theirs.config})
    assert ours.prediction == "v_prediction"
    assert np.allclose(ours.betas, theirs.betas.double().numpy(), rtol=1e-4, atol=2e-7)


def test_the_old_name_of_the_prediction_is_honoured() -> None:
    assert Schedule.from_config({"predict_epsilon": False}).prediction == "sample"
    assert Schedule.from_config({"predict_epsilon": True}).prediction == "epsilon"
    assert (
        Schedule.from_config({"predict_epsilon": False, "prediction_type": "v_prediction"}).prediction == "v_prediction"
    )


def test_what_is_null_has_its_default() -> None:
    """DPM solvers write ``variance_type: null``."""
    assert Schedule.from_config({"variance_type": None, "trained_betas": None}).variance == "fixed_small"

"""Schedulers of diffusers with a β-schedule, and their fields that describe a network's training. No torch.

A field is read, or must have its neutral value, or only configures diffusers' own samplers (here the smoothing's ``steps``
and ``sampler`` do that). Any other field is an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vitfaith.errors import ConfigError, did_you_mean

_NARROW = {"beta_start": 0.00085, "beta_end": 0.012}

SUPPORTED: Mapping[str, Mapping[str, Any]] = {
    "DDPMScheduler": {},
    "DDPMParallelScheduler": {},
    "DDIMScheduler": {},
    "DDIMParallelScheduler": {},
    "DDIMInverseScheduler": {},
    "PNDMScheduler": {},
    "LMSDiscreteScheduler": {},
    "EulerDiscreteScheduler": {},
    "EulerAncestralDiscreteScheduler": {},
    "HeunDiscreteScheduler": {**_NARROW, "clip_sample": False},
    "KDPM2DiscreteScheduler": _NARROW,
    "KDPM2AncestralDiscreteScheduler": _NARROW,
    "DPMSolverSinglestepScheduler": {},
    "DPMSolverMultistepScheduler": {},
    "DPMSolverMultistepInverseScheduler": {},
    "DEISMultistepScheduler": {},
    "UniPCMultistepScheduler": {},
    "SASolverScheduler": {},
    "RePaintScheduler": {},
}
"""Class with a β-schedule → its defaults where they differ from ``DDPMScheduler``."""

HONOURED = frozenset(
    {
        "num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas", "rescale_betas_zero_snr",
        "prediction_type", "predict_epsilon", "variance_type", "clip_sample", "clip_sample_range",
    }
)  # fmt: skip

NEUTRAL: Mapping[str, Any] = {
    "thresholding": False,
    "timestep_type": "discrete",
    "use_flow_sigmas": False,
    "use_dynamic_shifting": False,
    "timestep_values": None,
}
"""Field → its only supported value; other values mean another kind of denoiser or clipping."""

WALK = frozenset(
    {
        "algorithm_type", "corrector_order", "disable_corrector", "dynamic_thresholding_ratio", "eta", "euler_at_final",
        "final_sigmas_type", "flow_shift", "interpolation_type", "lambda_min_clipped", "lower_order_final", "predict_x0",
        "predictor_order", "sample_max_value", "set_alpha_to_one", "shift_terminal", "sigma_max", "sigma_min",
        "skip_prk_steps", "solver_order", "solver_p", "solver_type", "steps_offset", "tau_func", "tensor_format",
        "time_shift_type", "timestep_spacing", "use_beta_sigmas", "use_exponential_sigmas", "use_karras_sigmas",
        "use_lu_lambdas",
    }
)  # fmt: skip
"""Fields without effect here: the timesteps of a sampler, its order, and settings of disabled features."""


def read_scheduler(config: Mapping[str, Any]) -> dict[str, Any]:
    """The honoured fields of a ``scheduler_config.json``, with the defaults of its class.

    Raises:
        ConfigError: the class has no β-schedule, or a field is unknown or has an unsupported value.
    """
    kind = config.get("_class_name")
    if kind is not None and kind not in SUPPORTED:
        raise ConfigError(
            f"scheduler: {kind} has no β-schedule that can be read here; take a "
            f"denoiser trained on discrete timesteps, whose scheduler is one of {', '.join(SUPPORTED)}"
        )
    for key, value in config.items():
        if key in NEUTRAL and value not in (NEUTRAL[key], None):
            raise ConfigError(f"scheduler: {key} is not supported ({value!r}); only {NEUTRAL[key]!r} is")
        if not (key.startswith("_") or key in HONOURED or key in NEUTRAL or key in WALK):
            raise ConfigError(
                f"scheduler: unknown field '{key}'{did_you_mean(key, HONOURED)}; remove it if it only chooses how a sampler "
                "walks, otherwise the schedule cannot be read here"
            )
    found = {**SUPPORTED.get(str(kind), {}), **{k: v for k, v in config.items() if k in HONOURED and v is not None}}
    if not found.pop("predict_epsilon", True):  # the former name of prediction_type
        found.setdefault("prediction_type", "sample")
    return found


def check_is_scheduler(config: Mapping[str, Any], where: str) -> None:
    """Raise :class:`ConfigError` for a file without its class and betas, because defaults would invent a schedule."""
    if not {"_class_name", "beta_start", "beta_schedule", "trained_betas"} & set(config):
        raise ConfigError(
            f"'{where}' names no scheduler (_class_name) and no betas; write the schedule of the training"
        )

"""Noise schedules: the amount of noise per timestep. NumPy float64, no torch.

Timesteps are indices into ``alphas_cumprod`` counted from 0, as in diffusers and guided-diffusion. The diffusion runs
in [-1, 1]; ``sigma`` is in [0, 1] pixel units, so the noise to match is 2σ.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from math import cos, pi, sqrt
from typing import TYPE_CHECKING, Any, Literal

from vitfaith.denoisers.scheduler_config import read_scheduler
from vitfaith.errors import ConfigError, did_you_mean
from vitfaith.lazy import np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Prediction = Literal["epsilon", "v_prediction", "sample"]
Variance = Literal["fixed_small", "fixed_small_log", "fixed_large", "fixed_large_log", "learned", "learned_range"]

OFFICIAL_RESPACING = 250
"""Timesteps that the published notebook's diffusion object keeps of the full chain."""


@dataclass(frozen=True)
class Schedule:
    """A variance schedule and the network's prediction type.

    Attributes:
        betas: (T,) float64, variance of each step.
        prediction: meaning of the network's output.
        variance: variance of ancestral steps.
        linear: whether the betas rise linearly, which the official timestep formula assumes.
        clip: bound of |x̂₀| in [-1, 1] space while sampling, None without clipping.
    """

    betas: NDArray[np.float64]
    prediction: Prediction = "epsilon"
    variance: Variance = "fixed_small"
    linear: bool = False
    clip: float | None = 1.0

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Schedule:
        """Build from the fields of a diffusers ``scheduler_config.json``.

        By default x̂₀ is clipped to [-1, 1], as in ``DDPMScheduler`` and guided-diffusion.

        Raises:
            ConfigError: a scheduler without β-schedule, an unknown field, or an unsupported value.
        """
        config = read_scheduler(config)
        prediction = config.get("prediction_type", "epsilon")
        variance = config.get("variance_type", "fixed_small")
        _check("prediction_type", prediction, Prediction.__args__)  # type: ignore[attr-defined]
        _check("variance_type", variance, Variance.__args__)  # type: ignore[attr-defined]
        betas = _betas(config)
        if config.get("rescale_betas_zero_snr"):
            betas = _zero_terminal_snr(betas)
        if betas.ndim != 1 or len(betas) < 2 or not bool(((betas > 0) & (betas <= 1)).all()):
            raise ConfigError("scheduler: the betas must be at least two numbers in (0, 1]")
        linear = bool(np.allclose(np.diff(betas), np.diff(betas).mean(), rtol=1e-3, atol=1e-9))
        clip = float(config.get("clip_sample_range", 1.0)) if config.get("clip_sample", True) else None
        if clip is not None and not clip > 0:
            raise ConfigError(f"scheduler: clip_sample_range is {clip:g}; it must be above 0")
        return cls(betas, prediction, variance, linear, clip)

    @property
    def length(self) -> int:
        """Number of timesteps T."""
        return len(self.betas)

    @property
    def alphas_cumprod(self) -> NDArray[np.float64]:
        """ᾱ (T,): product of 1 − β up to and including each timestep."""
        return np.asarray(np.cumprod(1 - self.betas), np.float64)

    def alpha_bar(self, timestep: int) -> float:
        """ᾱ of ``timestep``; 1 for −1, the clean image."""
        return 1.0 if timestep < 0 else float(self.alphas_cumprod[timestep])

    def signal(self, timestep: int) -> float:
        """√ᾱ: factor of the image at ``timestep``."""
        return sqrt(self.alpha_bar(timestep))

    def noise(self, timestep: int) -> float:
        """√(1 − ᾱ): factor of the noise at ``timestep``."""
        return sqrt(1 - self.alpha_bar(timestep))

    def sigma(self, timestep: int) -> float:
        """Noise relative to the image at ``timestep``, √(1 − ᾱ)/√ᾱ / 2, in [0, 1] pixel units."""
        return self.noise(timestep) / self.signal(timestep) / 2

    def timestep(self, sigma: float) -> int:
        """First t ≥ 1 with √(1 − ᾱ_t)/√ᾱ_t ≥ 2σ (Carlini et al. 2023, whose scan starts at index 1).

        The actual noise ``self.sigma(t)`` is never below ``sigma``, so a certificate for σ stays valid.

        Raises:
            ConfigError: no timestep is that noisy; the text names the largest σ.
        """
        alpha_bar = self.alphas_cumprod[1:]
        alpha_bar = alpha_bar[alpha_bar > 1e-12]
        reached = np.flatnonzero(1 - alpha_bar >= 4 * sigma**2 * alpha_bar)
        if not len(reached):
            raise ConfigError(
                f"sigma = {sigma:g} exceeds the noise of this denoiser's schedule; "
                f"the largest possible sigma is {self.sigma(len(alpha_bar)):.4g} (in [0,1] pixel units)"
            )
        return int(reached[0]) + 1

    def official_timestep(self, delta: float) -> int:
        """t* of the published notebook: the number of steps it runs backward, for noise ``delta`` in [-1, 1] units.

        clip(round(1 + (T − 1)/(β_T − β_1) · (1 − 1/(1 + δ²) − β_1)), 0, T). It solves β_t = δ²/(1 + δ²), which uses
        the variance of one step as if it were the accumulated variance, and counts steps of a chain respaced to 250 as
        if they were steps of the full chain.

        Raises:
            ConfigError: the schedule is not linear, or t* is outside the respaced chain, where the notebook stops
                with an index error; the text names the largest δ.
        """
        if not self.linear or self.length < OFFICIAL_RESPACING:
            raise ConfigError(
                f"the official mode assumes a linear schedule of at least {OFFICIAL_RESPACING} steps; "
                "use mode calibrated with this denoiser"
            )
        first, last = float(self.betas[0]), float(self.betas[-1])
        exact = 1 + (self.length - 1) / (last - first) * (1 - 1 / (1 + delta**2) - first)
        steps = int(np.clip(np.round(exact), 0, self.length))
        if steps > OFFICIAL_RESPACING:
            beta = first + (OFFICIAL_RESPACING - 0.5) * (last - first) / (self.length - 1)
            largest = sqrt(beta / (1 - beta))
            raise ConfigError(
                f"sigma = {delta:g} needs {steps} official steps, its respaced chain has {OFFICIAL_RESPACING}; "
                f"the largest possible sigma in the official mode is {largest:.4g} ({largest * 255:.4g}/255)"
            )
        return steps

    def official_beta(self, steps: int) -> float:
        """β of the official t*, which counts from 1."""
        return float(self.betas[max(steps, 1) - 1])

    def respaced(self, count: int) -> list[int]:
        """``count`` timesteps spread over the chain, ascending, the last one included (guided-diffusion's spacing)."""
        if not 2 <= count <= self.length:
            raise ConfigError(f"cannot keep {count} of {self.length} timesteps")
        stride = (self.length - 1) / (count - 1)
        kept, position = [], 0.0
        for _ in range(count):
            kept.append(round(position))
            position += stride
        return kept


def _check(key: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ConfigError(
            f"scheduler: {key} '{value}' is not supported{did_you_mean(value, known)}; known: {', '.join(known)}"
        )


def _betas(config: Mapping[str, Any]) -> NDArray[np.float64]:
    if config.get("trained_betas") is not None:
        return np.asarray(config["trained_betas"], np.float64)
    count = int(config.get("num_train_timesteps", 1000))
    start, end = float(config.get("beta_start", 1e-4)), float(config.get("beta_end", 0.02))
    kind = config.get("beta_schedule", "linear")
    _check("beta_schedule", kind, ("linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid"))
    if kind == "linear":
        return np.linspace(start, end, count)
    if kind == "scaled_linear":
        return np.asarray(np.linspace(sqrt(start), sqrt(end), count) ** 2)
    if kind == "sigmoid":
        return np.asarray(1 / (1 + np.exp(-np.linspace(-6, 6, count))) * (end - start) + start)
    bar = [cos((i / count + 0.008) / 1.008 * pi / 2) ** 2 for i in range(count + 1)]
    return np.array([min(1 - b / a, 0.999) for a, b in pairwise(bar)])


def _zero_terminal_snr(betas: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shift and scale √ᾱ so that the last timestep holds no image (Lin et al. 2023, algorithm 1)."""
    root = np.sqrt(np.cumprod(1 - betas))
    root = (root - root[-1]) * root[0] / (root[0] - root[-1])
    alphas = root**2
    return np.concatenate([1 - alphas[:1], 1 - alphas[1:] / alphas[:-1]])

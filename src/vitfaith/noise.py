"""Laws of the noise that a smoothing adds: independent per pixel and channel, mean 0, standard deviation σ.

All three are drawn from standard normal numbers, so the keys of a draw are the same for all of them.
"""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING, Any, Literal, get_args

from vitfaith.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

Noise = Literal["gaussian", "laplace", "uniform"]
"""``gaussian``: N(0, σ²). ``laplace``: density exp(−|z|/b) / 2b with b = σ/√2. ``uniform``: on [−λ, λ] with λ = σ√3."""

NOISES: tuple[Noise, ...] = get_args(Noise)

_UNIT: dict[Noise, float] = {"gaussian": 1.0, "laplace": 1 / sqrt(2), "uniform": sqrt(3)}


def scale(noise: Noise, sigma: float) -> float:
    """The scale of noise with standard deviation ``sigma``: σ itself, Laplace's b = σ/√2, or the half-width λ = σ√3."""
    return _UNIT[noise] * sigma


def shaped(normal: Tensor, noise: Noise) -> Tensor:
    """Noise of variance 1, float32 of any shape, from standard normal numbers; the same tensor for ``gaussian``.

    Each number z becomes the quantile of the law at Φ(z), which rises with z: the three noises of an image and sample
    differ in shape only, and comparisons between them have less variance. Element by element, so no result depends on
    the batch.

    Example:
        >>> import torch
        >>> shaped(torch.tensor([-1.0, 0.0, 1.0]), "uniform")
        tensor([-1.1825,  0.0000,  1.1825])
    """
    if noise == "gaussian":
        return normal
    half = normal / sqrt(2)
    if noise == "uniform":
        return _UNIT[noise] * torch.erf(half)
    return -_UNIT[noise] * normal.sign() * torch.log(torch.erfc(half.abs()))


def certified_noise(parameters: Any) -> Noise:
    """Law of the noise of a smoothing's parameters; Gaussian where they have no ``certified_noise``."""
    found: Noise = getattr(parameters, "certified_noise", "gaussian")
    return found

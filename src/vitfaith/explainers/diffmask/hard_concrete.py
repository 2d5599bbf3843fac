"""The hard concrete distribution (Louizos, Welling & Kingma 2018), written in logits throughout.

s = σ((u + logit ε)/τ) with ε uniform, stretched to s·(r − l) + l and clamped to [0, 1], so that z = 0 has mass (and
z = 1 where r > 1). With v = logit s the stretched value exceeds t exactly where v > ln((t − l)/(r − t)), hence

    P(z > t) = σ(u − τ·ln((t − l)/(r − t)))          and          E[z] = ∫₀¹ P(z > t) dt.

The substitution t = l + (r − l)·σ(v) turns the integral into one over an interval of v with a smooth integrand,
(r − l)·σ'(v)·σ(u − τv), which Gauss–Legendre quadrature sums to the accuracy of the floats.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from vitfaith.errors import ConfigError
from vitfaith.models.rows import sigmoid

NOISE_EDGE = 1e-6
"""Uniform noise is kept this far from 0 and 1, whose logits are infinite."""
_NODES = 32
_TAIL = 36.0
"""Where the integral of an unclamped upper end is cut: e⁻³⁶ of the mass is beyond."""


@dataclass(frozen=True)
class HardConcrete:
    """The distribution of a gate with location ``u``.

    Attributes:
        temperature: τ > 0; the smaller, the closer to a coin.
        low, high: l < 0 and r ≥ 1, the stretch (Vision DiffMask: −0.2 and 1).
    """

    temperature: float = 0.2
    low: float = -0.2
    high: float = 1.0

    def __post_init__(self) -> None:
        """Raise :class:`ConfigError` for a stretch that leaves 0 without mass, or a temperature that is not positive."""
        if self.temperature <= 0 or self.low >= 0 or self.high < 1:
            raise ConfigError(
                f"temperature {self.temperature}, low {self.low} and high {self.high} are no hard concrete distribution; "
                "give temperature > 0, low < 0 and high ≥ 1"
            )

    @property
    def shift(self) -> float:
        """−τ·ln(−l/r), so that P(z > 0) = σ(u + shift)."""
        return -self.temperature * math.log(-self.low / self.high)

    def stretched(self, locations: Tensor, noise: Tensor) -> Tensor:
        """Samples before clamping, in (l, r).

        Args:
            locations: u, any shape, float32 or float64 (half precision cannot hold the logits of the noise).
            noise: ε in [0, 1), the same shape.
        """
        logits = torch.logit(noise, eps=NOISE_EDGE)
        return sigmoid((locations + logits) / self.temperature) * (self.high - self.low) + self.low

    def sample(self, locations: Tensor, noise: Tensor) -> Tensor:
        """z in [0, 1], differentiable in ``locations`` wherever it is neither 0 nor 1; arguments as above."""
        return self.stretched(locations, noise).clamp(0, 1)

    def log_positive(self, locations: Tensor) -> Tensor:
        """ln P(z > 0)."""
        return logsigmoid(locations + self.shift)

    def expected(self, locations: Tensor) -> Tensor:
        """E[z] in (0, 1), relative error below 1e-9 (float64) for any u."""
        nodes, weights = (torch.from_numpy(part).to(locations) for part in self._rule)
        return (sigmoid(locations[..., None] - self.temperature * nodes) * weights).sum(-1)

    def log_expected(self, locations: Tensor) -> Tensor:
        """ln E[z], finite however small u is."""
        nodes, weights = (torch.from_numpy(part).to(locations) for part in self._rule)
        terms = logsigmoid(locations[..., None] - self.temperature * nodes) + weights.log()
        return torch.logsumexp(terms, -1)

    @cached_property
    def _rule(self) -> tuple[np.ndarray, np.ndarray]:
        """Nodes v and weights of the quadrature, float64; weights are positive and sum to 1."""
        start = math.log(-self.low / self.high)
        end = _TAIL if self.high == 1 else min(_TAIL, math.log((1 - self.low) / (self.high - 1)))
        # Two panels: one around the bump of σ', one over its tail.
        edges = [start, min(max(start, 0.0) + 6.0, end), end]
        parts = []
        for a, b in itertools.pairwise(edges):
            if b > a:
                x, w = np.polynomial.legendre.leggauss(_NODES)
                parts.append(((b - a) / 2 * x + (a + b) / 2, (b - a) / 2 * w))
        nodes = np.concatenate([p[0] for p in parts])
        slope = 1 / (2 + np.exp(nodes) + np.exp(-nodes))
        return nodes, (self.high - self.low) * slope * np.concatenate([p[1] for p in parts])


def product(stretched: Tensor, dim: int) -> Tensor:
    """Π clamp(s̄, 0, 1) along ``dim``, taken in logs, with finite gradients also where factors are 0.

    A factor that is clamped passes no gradient, and where one is 0 the others have none either.
    """
    alive = (stretched > 0).all(dim)
    logs = torch.where(stretched > 0, stretched, 1.0).clamp(max=1).log()
    return torch.where(alive, logs.sum(dim).exp(), 0.0)

"""Settings of certificates: names of base maps and bounds, settings of one certificate and of a study's entry.

This module imports neither numpy nor scipy, so that a study with certificates is planned as fast as one without.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar

from pydantic import Field, field_validator

from vitfaith.errors import ConfigError
from vitfaith.noise import Noise
from vitfaith.registry import Parameters

Base = Literal["share", "unit", "vote"]
"""``share``: positive part over its sum (a probability vector; uniform where nothing is positive).
``unit``: min-max rescaled to [0, 1] (0 where constant).
``vote``: 1 for the k largest entries, 0 elsewhere, ties at the k-th value share the remaining votes; the average is the
frequency with which an entry is among the top k (after Levine, Singla and Feizi 2019)."""

Bound = Literal["clopper_pearson", "chernoff", "empirical_bernstein", "hoeffding"]
"""``clopper_pearson`` is exact for 0/1 samples and rounds others at random; the rest take any samples in [0, 1]."""

Norm = Literal["l1", "l2"]
"""In which a certificate finds its radius."""

DivergenceDirection = Literal["to_broken", "from_broken", "both"]
"""``to_broken`` bounds D_α(w‖Q), ``from_broken`` bounds D_α(Q‖w), with Q the nearest map whose overlap is broken."""

ORDERS: tuple[float, ...] = tuple(1 + 1e-3 * 199e3 ** (i / 47) for i in range(48))
"""Default orders α. Every single α gives a valid radius, so the grid costs tightness (< 0.5 %), never soundness."""

Order = Annotated[float, Field(gt=1, allow_inf_nan=False)]


class CertificateParameters(Parameters):
    """Settings of one certificate of a map.

    ``k``, ``beta``: the top-k overlap to keep. ``sigma``: noise in input units. ``alpha``: probability of failure.
    ``bound``: confidence bound, or "none" to treat the sample mean as the expectation, which guarantees nothing.
    ``base``: conversion of sampled maps before averaging. ``noise``: law of the noise.
    """

    k: int = Field(ge=1)
    beta: float = Field(gt=0, le=1)
    sigma: float = Field(gt=0, allow_inf_nan=False)
    alpha: float = Field(default=0.001, gt=0, lt=1)
    bound: Bound | Literal["none"] = "clopper_pearson"
    base: Base = "share"
    noise: Noise = "gaussian"


class RenyiParameters(CertificateParameters):
    """Settings of the Rényi certificates: the ``orders`` α > 1 to try and the ``direction`` of the divergence."""

    orders: tuple[Order, ...] = Field(default=ORDERS, min_length=1)
    direction: DivergenceDirection = "both"


class SplitSamples(Parameters):
    """Shared by all entries of the section certificates: the split of samples, and the probability of failure."""

    selection: int = Field(
        100,
        ge=1,
        description="noise samples that choose the class or the top-k set; all others give the bounds",
    )
    alpha: float = Field(0.001, gt=0, lt=1, description="probability that a row is wrong")


T = TypeVar("T")


class MapSettings(SplitSamples):
    """A certificate of maps, for every combination of k and beta."""

    k: tuple[int, ...] = Field((5,), min_length=1, description="sizes of the top-k set, patches")
    beta: tuple[float, ...] = Field((0.8,), min_length=1, description="overlaps to keep, in (0, 1]")
    base: Base = Field(
        "vote",
        description="conversion of a sample's map before the mean: vote (its k leading patches), share (divided by its "
        "sum) or unit (min-max)",
    )
    bound: Bound | Literal["none"] = Field(
        "clopper_pearson", description="confidence bound; none uses the mean as the expectation, without guarantee"
    )

    @field_validator("k", "beta", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: T) -> T | tuple[T]:
        return (value,) if isinstance(value, int | float | str) else value

    @field_validator("k")
    @classmethod
    def _check_k(cls, values: tuple[int, ...]) -> tuple[int, ...]:
        if any(k < 1 for k in values):
            raise ConfigError(f"k must hold whole numbers of at least 1, not {min(values)}")
        return values

    @field_validator("beta")
    @classmethod
    def _check_beta(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        wrong = [b for b in values if not 0 < b <= 1]
        if wrong:
            raise ConfigError(
                f"beta must lie in (0, 1], not {wrong[0]:g}; an overlap of at least 0 needs no certificate"
            )
        return values

    def singles(self, sigma: float, **changes: object) -> list[CertificateParameters]:
        """Parameters of each certificate of this entry, for noise ``sigma``; ``changes`` replace settings."""
        shared = self.model_dump(exclude={"selection", "k", "beta", "gamma", "order"}, exclude_none=True) | changes
        kind = RenyiParameters if "direction" in shared else CertificateParameters
        return [kind(k=k, beta=beta, sigma=sigma, **shared) for k in self.k for beta in self.beta]


class RenyiSettings(MapSettings):
    """A Rényi certificate of maps, for every combination of k and beta."""

    orders: tuple[Order, ...] | None = Field(
        None, min_length=1, description="orders α > 1 of the divergence to try; default: a grid from 1.001 to 200"
    )
    direction: DivergenceDirection = Field(
        "both", description="direction of the divergence: to or from the map with a broken overlap"
    )


class FaithfulnessSettings(MapSettings):
    """Map and prediction together, for every combination of k and beta; each part may fail with alpha / 2."""

    gamma: float | None = Field(
        None, ge=0, description="largest divergence of the prediction, nats; default: its arg-max must stay"
    )
    order: Order = Field(2.0, description="order α in which gamma is measured")

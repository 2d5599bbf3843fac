"""The registry of certificates: functions from the cheapest swap to an l2 radius."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from vitfaith.certify.base import Base, mass
from vitfaith.certify.bounds import Bound
from vitfaith.certify.lipschitz import grouped_radius, lipschitz_radius
from vitfaith.certify.renyi import ORDERS, Direction, divergence_radius, paper_closed_form, renyi_radius
from vitfaith.certify.top_k import Floats, Swap
from vitfaith.registry import Parameters, Registry

CERTIFICATES: Registry = Registry("certificate")
"""Entries are ``function(swap, parameters) -> radius (...,)``. Traits: ``probability``, whether base maps must have a
fixed sum; ``sound``, whether the radius is a guarantee for every k0."""


class CertificateParameters(Parameters):
    """What every certificate is told.

    ``k``, ``beta``: the top-k overlap to keep. ``sigma``: noise in input units. ``alpha``: probability of failure.
    ``bound``: confidence bound, or "none" to treat the sample mean as the expectation, which guarantees nothing.
    ``base``: what the sampled maps become before averaging.
    """

    k: int = Field(ge=1)
    beta: float = Field(gt=0, le=1)
    sigma: float = Field(gt=0, allow_inf_nan=False)
    alpha: float = Field(default=0.001, gt=0, lt=1)
    bound: Bound | Literal["none"] = "clopper_pearson"
    base: Base = "share"


class RenyiParameters(CertificateParameters):
    """Settings of the Rényi certificates: the ``orders`` α > 1 to try and the ``direction`` of the divergence."""

    orders: tuple[Annotated[float, Field(gt=1, allow_inf_nan=False)], ...] = Field(default=ORDERS, min_length=1)
    direction: Direction = "both"


def _probabilities(swap: Swap, parameters: CertificateParameters) -> Swap:
    total = mass(parameters.base, parameters.k)
    return Swap(swap.inside / total, swap.outside / total)


@CERTIFICATES.register(
    "lipschitz", parameters=CertificateParameters, citation="arXiv 1905.12105", probability=False, sound=True
)
def lipschitz(swap: Swap, parameters: CertificateParameters) -> Floats:
    """Gap of the normal quantiles of one entry inside and one outside: needs entries in [0, 1] only."""
    return lipschitz_radius(swap, parameters.sigma)


@CERTIFICATES.register(
    "grouped", parameters=CertificateParameters, citation="arXiv 1905.12105", probability=False, sound=True
)
def grouped(swap: Swap, parameters: CertificateParameters) -> Floats:
    """Gap of the normal quantiles of sums of entries: never below ``lipschitz``, larger for maps that sum to 1."""
    return grouped_radius(swap, parameters.sigma, mass(parameters.base, parameters.k))


@CERTIFICATES.register("renyi", parameters=RenyiParameters, citation="arXiv 2311.17983", probability=True, sound=True)
def renyi(swap: Swap, parameters: RenyiParameters) -> Floats:
    """Exact smallest Rényi divergence to a map with a broken overlap."""
    return renyi_radius(_probabilities(swap, parameters), parameters.sigma, parameters.orders, parameters.direction)


@CERTIFICATES.register(
    "paper_closed_form", parameters=RenyiParameters, citation="arXiv 2311.17983", probability=True, sound=False
)
def closed_form(swap: Swap, parameters: RenyiParameters) -> Floats:
    """The closed form as quoted, for comparison only: too large for two or more swaps, so no guarantee."""
    value = paper_closed_form(_probabilities(swap, parameters), parameters.orders, parameters.direction)
    return divergence_radius(value.divergence, parameters.orders, parameters.sigma)

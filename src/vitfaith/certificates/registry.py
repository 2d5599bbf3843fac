"""The registry of certificates. Importing this module imports neither numpy nor scipy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vitfaith.certificates.settings import (
    CertificateParameters,
    FaithfulnessSettings,
    MapSettings,
    RenyiParameters,
    RenyiSettings,
    SplitSamples,
)
from vitfaith.registry import Registry

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from vitfaith.certificates.radii.cohen import CertifiedPrediction
    from vitfaith.certificates.radii.faithfulness import Parts
    from vitfaith.certificates.radii.top_k import Floats, Swap

CERTIFICATES: Registry = Registry("certificate")
"""Traits: ``certifies``, what the radius is about: "map", "prediction" or "both"; ``sound``, whether it is a guarantee
for every k0; ``probability``, whether base maps must have a fixed sum. ``parameters`` is an entry of a study; certificates
of maps are ``function(swap, single) -> radius (...,)``, with ``single`` of the type in the trait of that name."""


@CERTIFICATES.register(
    "lipschitz",
    parameters=MapSettings,
    citation="arXiv 1905.12105",
    certifies="map",
    single=CertificateParameters,
    probability=False,
    sound=True,
)
def lipschitz(swap: Swap, parameters: CertificateParameters) -> Floats:
    """Gap of the normal quantiles of one entry inside and one outside: needs entries in [0, 1] only."""
    from vitfaith.certificates.radii.lipschitz import lipschitz_radius

    return lipschitz_radius(swap, parameters.sigma)


@CERTIFICATES.register(
    "grouped",
    parameters=MapSettings,
    citation="arXiv 1905.12105",
    certifies="map",
    single=CertificateParameters,
    probability=False,
    sound=True,
)
def grouped(swap: Swap, parameters: CertificateParameters) -> Floats:
    """Gap of the normal quantiles of sums of entries: never below ``lipschitz``, larger for maps that sum to 1."""
    from vitfaith.certificates.radii.base import mass
    from vitfaith.certificates.radii.lipschitz import grouped_radius

    return grouped_radius(swap, parameters.sigma, mass(parameters.base, parameters.k))


@CERTIFICATES.register(
    "renyi",
    parameters=RenyiSettings,
    citation="arXiv 2311.17983",
    certifies="map",
    single=RenyiParameters,
    probability=True,
    sound=True,
)
def renyi(swap: Swap, parameters: RenyiParameters) -> Floats:
    """Exact smallest Rényi divergence to a map with a broken overlap."""
    from vitfaith.certificates.radii.base import as_probabilities
    from vitfaith.certificates.radii.renyi import renyi_radius

    scaled = as_probabilities(swap, parameters.base, parameters.k)
    return renyi_radius(scaled, parameters.sigma, parameters.orders, parameters.direction)


@CERTIFICATES.register(
    "paper_closed_form",
    parameters=RenyiSettings,
    citation="arXiv 2311.17983",
    certifies="map",
    single=RenyiParameters,
    probability=True,
    sound=False,
)
def closed_form(swap: Swap, parameters: RenyiParameters) -> Floats:
    """The closed form as quoted, for comparison only: too large for two or more swaps, so no guarantee."""
    from vitfaith.certificates.radii.base import as_probabilities
    from vitfaith.certificates.radii.renyi import divergence_radius, paper_closed_form

    scaled = as_probabilities(swap, parameters.base, parameters.k)
    value = paper_closed_form(scaled, parameters.orders, parameters.direction)
    return divergence_radius(value.divergence, parameters.orders, parameters.sigma)


@CERTIFICATES.register(
    "cohen",
    parameters=SplitSamples,
    citation="arXiv 1902.02918",
    certifies="prediction",
    probability=False,
    sound=True,
)
def cohen(selection: ArrayLike, estimation: ArrayLike, sigma: float, parameters: SplitSamples) -> CertifiedPrediction:
    """Certified class and radius of the smoothed prediction, from votes; abstains where no class has half of them."""
    from vitfaith.certificates.radii.cohen import certify

    return certify(selection, estimation, sigma, parameters.alpha)


@CERTIFICATES.register(
    "faithfulness",
    parameters=FaithfulnessSettings,
    citation="arXiv 2311.17983",
    certifies="both",
    probability=False,
    sound=True,
)
def faithfulness(
    swap: Swap,
    selection: ArrayLike,
    estimation: ArrayLike,
    single: CertificateParameters,
    parameters: FaithfulnessSettings,
) -> Parts:
    """Largest R of the (R, D_α, γ, β, k)-faithfulness, and which of map and prediction limits it."""
    from vitfaith.certificates.radii.faithfulness import sampled_parts

    return sampled_parts(swap, selection, estimation, single, gamma=parameters.gamma, order=parameters.order)

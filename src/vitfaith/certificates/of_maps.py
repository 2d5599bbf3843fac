"""Certificates of maps: radii within which the top-k set of a smoothed map keeps its overlap.

Each certificate is the radius of one swap. :func:`certificate_of_maps` makes the rows of a study's entry from it,
:func:`certify_maps` the rows of arrays. Importing this module imports neither numpy nor scipy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any

from vitfaith.certificates.norms import DIVERGENCE, GAUSSIAN, QUANTILE
from vitfaith.certificates.registry import CERTIFICATES
from vitfaith.certificates.settings import CertificateParameters, MapSettings, Norm, RenyiParameters, RenyiSettings
from vitfaith.errors import ConfigError
from vitfaith.noise import Noise, scale

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import ArrayLike

    from vitfaith.certificates.radii.top_k import Floats, Swap
    from vitfaith.certificates.radii.votes import Samples

    Radius = Callable[[Swap, Any], Floats]


_LIPSCHITZ = "arXiv 1905.12105; behind Laplace and uniform noise arXiv 2002.08118"


def certificate_of_maps(
    name: str,
    *,
    parameters: type[MapSettings],
    single: type[CertificateParameters],
    citation: str,
    norms: Mapping[Noise, Norm] = GAUSSIAN,
    probability: bool = False,
    sound: bool = True,
) -> Callable[[Radius], Radius]:
    """Decorator that registers ``function(swap, single) -> radius (...,)`` as a certificate of maps.

    Args:
        name: unique among the certificates.
        parameters: an entry of a study; its ``singles`` are of type ``single``.
        single: type of the function's second argument.
        citation: citation of the paper.
        norms: the laws of noise behind which it holds, each with the norm of the radius.
        probability: whether base maps must have a fixed sum.
        sound: whether the radius is a guarantee for every k0, not only for k0 = 1.
    """

    def enter(radius: Radius) -> Radius:
        traits = {
            "certifies": "map",
            "norms": norms,
            "single": single,
            "probability": probability,
            "sound": sound,
            "radius": radius,
        }

        @CERTIFICATES.register(name, parameters=parameters, citation=citation, **traits)
        @wraps(radius)
        def certificate(id_: str, settings: MapSettings, samples: Samples) -> list[pa.Table]:
            from vitfaith.certificates.radii.rows import certify_swap

            entry = CERTIFICATES[name]
            return [
                certify_swap(
                    swap,
                    entry,
                    told,
                    image_ids=samples.votes.image_ids,
                    method=samples.method,
                    dimensions=samples.dimensions,
                    selection=settings.selection,
                    samples=samples.count - settings.selection,
                    name=id_,
                )
                for told, swap in samples.swaps(id_, settings, settings.alpha)
            ]

        return radius

    return enter


@certificate_of_maps(
    "lipschitz", parameters=MapSettings, single=CertificateParameters, citation=_LIPSCHITZ, norms=QUANTILE
)
def lipschitz(swap: Swap, single: CertificateParameters) -> Floats:
    """Gap between the noise quantiles of one entry inside and one entry outside the set; needs only entries in [0, 1]."""
    from vitfaith.certificates.radii.lipschitz import lipschitz_radius

    return lipschitz_radius(swap, single.sigma, single.noise)


@certificate_of_maps(
    "grouped", parameters=MapSettings, single=CertificateParameters, citation=_LIPSCHITZ, norms=QUANTILE
)
def grouped(swap: Swap, single: CertificateParameters) -> Floats:
    """Gap of the noise's quantiles of sums of entries: never below ``lipschitz``, larger for maps that sum to 1."""
    from vitfaith.certificates.radii.base import mass
    from vitfaith.certificates.radii.lipschitz import grouped_radius

    return grouped_radius(swap, single.sigma, mass(single.base, single.k), single.noise)


@certificate_of_maps(
    "renyi",
    parameters=RenyiSettings,
    single=RenyiParameters,
    citation="arXiv 2311.17983; behind Laplace noise arXiv 1605.02065",
    norms=DIVERGENCE,
    probability=True,
)
def renyi(swap: Swap, single: RenyiParameters) -> Floats:
    """Exact smallest Rényi divergence to a map with a broken overlap."""
    from vitfaith.certificates.radii.base import as_probabilities
    from vitfaith.certificates.radii.renyi import renyi_radius

    scaled = as_probabilities(swap, single.base, single.k)
    return renyi_radius(scaled, scale(single.noise, single.sigma), single.orders, single.direction)


@certificate_of_maps(
    "paper_closed_form",
    parameters=RenyiSettings,
    single=RenyiParameters,
    citation="arXiv 2311.17983",
    probability=True,
    sound=False,
)
def closed_form(swap: Swap, single: RenyiParameters) -> Floats:
    """The paper's closed form, for comparison only: its radius is too large for two or more swaps, so not sound."""
    from vitfaith.certificates.radii.base import as_probabilities
    from vitfaith.certificates.radii.renyi import divergence_radius, paper_closed_form

    scaled = as_probabilities(swap, single.base, single.k)
    value = paper_closed_form(scaled, single.orders, single.direction)
    return divergence_radius(value.divergence, single.orders, single.sigma)


def certify_maps(
    selection: ArrayLike,
    estimation: ArrayLike,
    certificate: str,
    parameters: CertificateParameters,
    *,
    image_ids: Sequence[str],
    method: str,
    dimensions: int,
    seed: int = 0,
) -> pa.Table:
    """Certified radii of sampled maps of one explainer, one row per image.

    A row states: with probability at least 1 - alpha over the samples, the smoothed map of every input closer than
    ``radius`` (l2) or ``linf`` (l_inf) shares at least ``beta`` of its top k with the top k of the selection samples'
    mean base map, however ties are broken. Rows of other certificates and betas with the same k, base, bound and
    samples hold simultaneously; rows with another k have a separate failure probability.

    Args:
        selection: (B, m0, n) raw maps of m0 noisy copies; they choose the top-k set.
        estimation: (B, m, n) raw maps of m other, independent copies; they bound the entries.
        certificate: a name of :data:`vitfaith.certificates.registry.CERTIFICATES` that certifies maps.
        parameters: settings, of the type in the certificate's trait ``single``.
        image_ids: (B,).
        method: explainer, copied to the rows.
        dimensions: channels · height · width of the input, for l_inf.
        seed: of the random rounding of ``clopper_pearson``.

    Returns:
        Table of schema :data:`vitfaith.artifacts.schemas.CERTIFICATES`.

    Raises:
        ConfigError: for an unknown certificate, one that does not hold behind the noise, or one that needs a fixed sum with
            ``base="unit"``.
        InputError: for wrong shapes or a k that does not fit the map.
    """
    import numpy as np

    from vitfaith.certificates.radii.maps import sampled_swap
    from vitfaith.certificates.radii.rows import certify_swap

    swap = sampled_swap(selection, estimation, parameters, image_ids, seed)
    entry = CERTIFICATES[certificate]
    if entry.traits["certifies"] != "map":
        raise ConfigError(f"certificate '{certificate}' does not certify maps alone")
    if not isinstance(parameters, entry.traits["single"]):
        raise ConfigError(
            f"certificate '{certificate}' takes {entry.traits['single'].__name__}, not {type(parameters).__name__}"
        )
    sizes = {"selection": np.shape(selection)[1], "samples": np.shape(estimation)[1]}
    return certify_swap(
        swap, entry, parameters, image_ids=image_ids, method=method, dimensions=dimensions, name=certificate, **sizes
    )

"""Certificates of predictions: radii within which a smoothed classifier keeps its class.

Importing this module imports neither numpy nor scipy.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from vitfaith.certificates.norms import DIVERGENCE, QUANTILE, check_noise, norms_of
from vitfaith.certificates.registry import CERTIFICATES
from vitfaith.certificates.settings import SplitSamples
from vitfaith.noise import scale

if TYPE_CHECKING:
    import pyarrow as pa

    from vitfaith.certificates.radii.cohen import CertifiedPrediction
    from vitfaith.certificates.radii.votes import Samples


@CERTIFICATES.register(
    "cohen",
    parameters=SplitSamples,
    citation="arXiv 1902.02918; behind Laplace and uniform noise arXiv 2002.08118",
    certifies="prediction",
    norms=QUANTILE,
    sound=True,
)
def cohen(id_: str, settings: SplitSamples, samples: Samples) -> list[pa.Table]:
    """Certified class and radius of the smoothed prediction, from votes; abstains if no class has half of the votes."""
    from vitfaith.certificates.radii.cohen import certify

    def found() -> CertifiedPrediction:
        return certify(*samples.votes.counts(settings.selection), samples.sigma, settings.alpha, samples.noise)

    return _rows("cohen", id_, settings, samples, found)


@CERTIFICATES.register(
    "renyi_prediction",
    parameters=SplitSamples,
    citation="arXiv 2311.17983; behind Laplace noise arXiv 1605.02065",
    certifies="prediction",
    norms=DIVERGENCE,
    sound=True,
)
def renyi_prediction(id_: str, settings: SplitSamples, samples: Samples) -> list[pa.Table]:
    """Class of ``cohen`` with an l2 radius from Rényi divergences.

    Smaller than ``cohen``'s radius behind Gaussian noise; much larger behind Laplace noise, where ``cohen``'s l1 radius loses
    a factor √d in l2.
    """
    from vitfaith.certificates.radii.cohen import certify_by_divergence

    def found() -> CertifiedPrediction:
        size = scale(samples.noise, samples.sigma)
        return certify_by_divergence(*samples.votes.counts(settings.selection), size, settings.alpha)

    return _rows("renyi_prediction", id_, settings, samples, found)


def _rows(
    name: str, id_: str, settings: SplitSamples, samples: Samples, found_in: Callable[[], CertifiedPrediction]
) -> list[pa.Table]:
    """The table of a certificate of the prediction; none with maps."""
    from vitfaith.certificates.radii.cohen import ABSTAIN
    from vitfaith.certificates.radii.quantile import l2_radius
    from vitfaith.certificates.radii.rows import certificate_rows, check_samples

    if samples.method:
        return []
    entry = CERTIFICATES[name]
    check_noise(f"certificates.{id_}", entry, samples.noise)
    check_samples(id_, settings, samples.count, 1, settings.alpha, "clopper_pearson")
    found = found_in()
    radius = l2_radius(found.radius, norms_of(entry)[samples.noise], samples.dimensions)
    rows = certificate_rows(
        samples.votes.image_ids,
        radius,
        samples.dimensions,
        certificate=id_,
        bound="clopper_pearson",
        sigma=samples.sigma,
        alpha=settings.alpha,
        selection=settings.selection,
        samples=samples.count - settings.selection,
        inside=found.lower,
        prediction=found.prediction,
        label=samples.votes.labels,
        prediction_radius=radius,
        sound=True,
        flag=["abstain" if p == ABSTAIN else "" for p in found.prediction],
    )
    return [rows]

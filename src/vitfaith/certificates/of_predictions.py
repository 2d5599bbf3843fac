"""Certificates of predictions: how far the class of a smoothed classifier is kept.

Importing this module imports neither numpy nor scipy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vitfaith.certificates.registry import CERTIFICATES
from vitfaith.certificates.settings import SplitSamples

if TYPE_CHECKING:
    import pyarrow as pa

    from vitfaith.certificates.radii.votes import Samples


@CERTIFICATES.register(
    "cohen", parameters=SplitSamples, citation="arXiv 1902.02918", certifies="prediction", sound=True
)
def cohen(id_: str, settings: SplitSamples, samples: Samples) -> list[pa.Table]:
    """Certified class and radius of the smoothed prediction, from votes; abstains where no class has half of them."""
    from vitfaith.certificates.radii.cohen import ABSTAIN, certify
    from vitfaith.certificates.radii.rows import certificate_rows, check_samples

    if samples.method:
        return []
    check_samples(id_, settings, samples.count, 1, settings.alpha, "clopper_pearson")
    found = certify(*samples.votes.counts(settings.selection), samples.sigma, settings.alpha)
    rows = certificate_rows(
        samples.votes.image_ids,
        found.radius,
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
        prediction_radius=found.radius,
        sound=True,
        flag=["abstain" if p == ABSTAIN else "" for p in found.prediction],
    )
    return [rows]

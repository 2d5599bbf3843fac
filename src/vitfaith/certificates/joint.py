"""Certificates of the map and the prediction together. Importing this module imports neither numpy nor scipy."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING

from vitfaith.certificates.norms import GAUSSIAN, check_noise
from vitfaith.certificates.registry import CERTIFICATES
from vitfaith.certificates.settings import FaithfulnessSettings
from vitfaith.errors import ConfigError

if TYPE_CHECKING:
    import pyarrow as pa

    from vitfaith.certificates.radii.votes import Samples


@CERTIFICATES.register(
    "faithfulness",
    parameters=FaithfulnessSettings,
    citation="arXiv 2311.17983",
    certifies="both",
    sound=True,
    norms=GAUSSIAN,
)
def faithfulness(id_: str, settings: FaithfulnessSettings, samples: Samples) -> list[pa.Table]:
    """Largest R of the (R, D_α, γ, β, k)-faithfulness, and whether the map or the prediction limits it.

    With a confidence bound each part may fail with half of alpha. With ``bound: none`` the published formulas are applied
    to the sample means, as if these were the expectations.
    """
    from vitfaith.certificates.radii.base import mass
    from vitfaith.certificates.radii.faithfulness import plugged_in_parts, sampled_parts
    from vitfaith.certificates.radii.rows import certificate_rows, described, flags_of

    check_noise(f"certificates.{id_}", CERTIFICATES["faithfulness"], samples.noise)
    votes, gamma, order = samples.votes, settings.gamma, settings.order
    tables = []
    for single, (swap, flags) in samples.swaps(id_, settings, settings.alpha / 2):
        if single.bound != "none":
            found = sampled_parts(swap, *votes.counts(settings.selection), single, gamma=gamma, order=order)
        elif isfinite(mass(single.base, single.k)):
            found = plugged_in_parts(samples.maps, votes.probabilities, single, gamma=gamma, order=order)
        else:
            raise ConfigError(f"certificates.{id_}: without a bound, base must be share or vote, not {single.base}")
        columns = described(single, settings.selection, samples.count - settings.selection)
        table = certificate_rows(
            votes.image_ids,
            found.radius,
            samples.dimensions,
            method=samples.method,
            certificate=id_,
            **columns | {"alpha": 2 * columns["alpha"]},
            inside=swap.inside[:, 0],
            outside=swap.outside[:, -1],
            map_radius=found.map_radius,
            prediction_radius=found.prediction_radius,
            limit=found.limit.tolist(),
            prediction=found.prediction,
            label=votes.labels,
            sound=single.bound != "none",
            flag=flags_of(flags, found.radius),
        )
        tables.append(table)
    return tables

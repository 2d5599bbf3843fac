"""From one entry of a study's certificates and stored samples to rows of the table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vitfaith.certificates.radii.base import mass, mean_base_map
from vitfaith.certificates.radii.bounds import fewest_samples
from vitfaith.certificates.radii.cohen import ABSTAIN
from vitfaith.certificates.radii.faithfulness import faithfulness, sampled_parts
from vitfaith.certificates.radii.maps import SampledSwap, certificate_rows, certify_swap, described, sampled_swap
from vitfaith.certificates.radii.top_k import Integers, check_top_k, swaps_to_break
from vitfaith.certificates.registry import CERTIFICATES
from vitfaith.certificates.settings import Bound, CertificateParameters, FaithfulnessSettings, MapSettings, SplitSamples
from vitfaith.errors import ConfigError, InputError

Swaps = dict[tuple[Any, ...], SampledSwap]
"""Bounds of one method's maps that several certificates share."""


@dataclass(frozen=True)
class Votes:
    """Class predictions of the noise samples of a shard.

    Attributes:
        image_ids: B names.
        labels: (B,) of the dataset.
        classes: (B, S) predicted class of each sample.
        probabilities: (B, K) mean over the samples.
    """

    image_ids: list[str]
    labels: NDArray[np.integer[Any]]
    classes: Integers
    probabilities: NDArray[np.float64]

    def counts(self, selection: int) -> tuple[Integers, Integers]:
        """Votes (B, K) of the first ``selection`` samples, and of the others."""
        hot = self.classes[:, :, None] == np.arange(self.probabilities.shape[1])
        return hot[:, :selection].sum(1), hot[:, selection:].sum(1)


def check_samples(
    id_: str, settings: SplitSamples, samples: int, entries: int, alpha: float, bound: Bound | Literal["none"]
) -> None:
    """Raise :class:`ConfigError` unless ``samples`` leave enough for a certificate of ``entries`` numbers at all."""
    left = samples - settings.selection
    needed = 1 if bound == "none" else fewest_samples(alpha / entries, bound)
    if left < needed:
        raise ConfigError(
            f"certificates.{id_}: {samples} samples, {settings.selection} of them for selection, leave {max(0, left)} for "
            f"the bound; {needed} are the fewest that can certify {entries} entries at alpha = {alpha:g}: raise 'samples' "
            "of the smoothing, or lower 'selection'"
        )


def prediction_rows(id_: str, settings: SplitSamples, votes: Votes, sigma: float, dimensions: int) -> pa.Table:
    """Rows of a certificate of the prediction, one an image."""
    samples = votes.classes.shape[1]
    check_samples(id_, settings, samples, 1, settings.alpha, "clopper_pearson")
    found = CERTIFICATES["cohen"].implementation(*votes.counts(settings.selection), sigma, settings)
    return certificate_rows(
        votes.image_ids,
        found.radius,
        dimensions,
        certificate=id_,
        bound="clopper_pearson",
        sigma=sigma,
        alpha=settings.alpha,
        selection=settings.selection,
        samples=samples - settings.selection,
        inside=found.lower,
        prediction=found.prediction,
        label=votes.labels,
        prediction_radius=found.radius,
        sound=True,
        flag=["abstain" if p == ABSTAIN else "" for p in found.prediction],
    )


def _swap(
    id_: str,
    single: CertificateParameters,
    selection: int,
    maps: NDArray[np.float32],
    votes: Votes,
    seed: int,
    swaps: Swaps,
) -> SampledSwap:
    try:
        check_top_k(single.k, swaps_to_break(single.k, single.beta), maps.shape[2])
    except InputError as error:
        raise ConfigError(f"certificates.{id_}: {error}") from error
    key = (single.k, single.beta, single.alpha, single.bound, single.base, selection)
    if key not in swaps:
        swaps[key] = sampled_swap(maps[:, :selection], maps[:, selection:], single, votes.image_ids, seed)
    return swaps[key]


def map_rows(
    id_: str,
    name: str,
    settings: MapSettings,
    method: str,
    maps: NDArray[np.float32],
    *,
    votes: Votes,
    sigma: float,
    dimensions: int,
    seed: int,
    swaps: Swaps,
) -> list[pa.Table]:
    """Rows of a certificate of the maps (B, S, n) of one method, one table for each k and beta."""
    samples, n = maps.shape[1:]
    check_samples(id_, settings, samples, n, settings.alpha, settings.bound)
    tables = []
    for single in settings.singles(sigma):
        swap, flags = _swap(id_, single, settings.selection, maps, votes, seed, swaps)
        table = certify_swap(
            swap,
            flags,
            name,
            single,
            image_ids=votes.image_ids,
            method=method,
            dimensions=dimensions,
            selection=settings.selection,
            samples=samples - settings.selection,
            name=id_,
        )
        tables.append(table)
    return tables


def joint_rows(
    id_: str,
    settings: FaithfulnessSettings,
    method: str,
    maps: NDArray[np.float32],
    *,
    votes: Votes,
    sigma: float,
    dimensions: int,
    seed: int,
    swaps: Swaps,
) -> list[pa.Table]:
    """Rows of the (R, D_α, γ, β, k)-faithfulness of one method, one table for each k and beta.

    With a confidence bound each part may fail with half of alpha. With ``bound: none`` the sample means are taken for
    the expectations and the published formulas applied to them.
    """
    samples, n = maps.shape[1:]
    half = settings.alpha / 2
    check_samples(id_, settings, samples, n, half, settings.bound)
    tables = []
    for single in settings.singles(sigma, alpha=half):
        swap, flags = _swap(id_, single, settings.selection, maps, votes, seed, swaps)
        if single.bound == "none":
            if not np.isfinite(mass(single.base, single.k)):
                raise ConfigError(f"certificates.{id_}: without a bound, base must be share or vote, not {single.base}")
            means = np.stack([mean_base_map(one, single.base, single.k) for one in maps]) / mass(single.base, single.k)
            found = faithfulness(
                means, votes.probabilities, single.k, single.beta, sigma, gamma=settings.gamma, order=settings.order
            )
            radius, parts, prediction = found.radius, found[1:3], votes.probabilities.argmax(1)
            limit = found.limit
        else:
            counts = votes.counts(settings.selection)
            sampled = sampled_parts(swap, *counts, single, gamma=settings.gamma, order=settings.order)
            radius, parts, prediction = sampled.radius, sampled[1:3], sampled.prediction
            limit = sampled.limit
        columns = described(single, settings.selection, samples - settings.selection)
        table = certificate_rows(
            votes.image_ids,
            radius,
            dimensions,
            method=method,
            certificate=id_,
            **columns | {"alpha": 2 * columns["alpha"]},
            inside=swap.inside[:, 0],
            outside=swap.outside[:, -1],
            map_radius=parts[0],
            prediction_radius=parts[1],
            limit=limit.tolist(),
            prediction=prediction,
            label=votes.labels,
            sound=single.bound != "none",
            flag=[flag or ("" if size > 0 else "abstain") for flag, size in zip(flags, radius, strict=True)],
        )
        tables.append(table)
    return tables

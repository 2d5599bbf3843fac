"""Input of certificates: the classes and maps of the noise samples of a shard."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitfaith.certificates.radii.maps import SampledSwap, sampled_swap
from vitfaith.certificates.radii.rows import check_samples
from vitfaith.certificates.radii.top_k import Integers, check_top_k, swaps_to_break
from vitfaith.certificates.settings import CertificateParameters, MapSettings
from vitfaith.errors import ConfigError, InputError
from vitfaith.noise import Noise


@dataclass(frozen=True)
class Votes:
    """Class predictions of the noise samples of a shard.

    Attributes:
        image_ids: B names.
        labels: (B,) labels of the dataset.
        classes: (B, S) predicted class of each sample.
        probabilities: (B, K) mean probabilities over the samples.
    """

    image_ids: list[str]
    labels: NDArray[np.integer[Any]]
    classes: Integers
    probabilities: NDArray[np.float64]

    def counts(self, selection: int) -> tuple[Integers, Integers]:
        """Votes (B, K) of the first ``selection`` samples, and of the others."""
        hot = self.classes[:, :, None] == np.arange(self.probabilities.shape[1])
        return hot[:, :selection].sum(1), hot[:, selection:].sum(1)


@dataclass(frozen=True)
class Samples:
    """The votes of a shard, alone or with the maps of one method.

    One method at a time, because all maps of a shard may not fit into memory.

    Attributes:
        votes: votes of S noise samples.
        sigma: standard deviation of the noise, in the units of the input.
        dimensions: channels · height · width of the input.
        seed: seed of the random rounding of ``clopper_pearson``.
        method: the explainer; "" for the votes alone.
        maps: (B, S, n) float32 of that method, not normalised; without images and entries for the votes alone.
        noise: law of the noise.
        shared: bounds found so far, for certificates that need the same bounds.
    """

    votes: Votes
    sigma: float
    dimensions: int
    seed: int
    method: str = ""
    maps: NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 0, 0), dtype=np.float32))
    noise: Noise = "gaussian"
    shared: dict[tuple[Any, ...], SampledSwap] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """S, the number of noise samples per image."""
        return self.votes.classes.shape[1]

    def swaps(
        self, id_: str, settings: MapSettings, alpha: float
    ) -> Iterator[tuple[CertificateParameters, SampledSwap]]:
        """Parameters and bounds for each k and beta of an entry that may fail with ``alpha``; none without maps.

        Raises:
            ConfigError: too few samples for any certificate, or a k that does not fit the maps.
        """
        if not self.method:
            return
        check_samples(id_, settings, self.count, self.maps.shape[2], alpha, settings.bound)
        for single in settings.singles(self.sigma, alpha=alpha, noise=self.noise):
            yield single, self._swap(id_, single, settings.selection)

    def _swap(self, id_: str, single: CertificateParameters, selection: int) -> SampledSwap:
        try:
            check_top_k(single.k, swaps_to_break(single.k, single.beta), self.maps.shape[2])
        except InputError as error:
            raise ConfigError(f"certificates.{id_}: {error}") from error
        key = (single.k, single.beta, single.alpha, single.bound, single.base, selection)
        if key not in self.shared:
            parts = self.maps[:, :selection], self.maps[:, selection:]
            self.shared[key] = sampled_swap(*parts, single, self.votes.image_ids, self.seed)
        return self.shared[key]

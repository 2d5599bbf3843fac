"""Maps by method, with what they explain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vitfaith.errors import InputError
from vitfaith.map_values import map_flags


class Maps(dict[str, Tensor]):
    """Method → maps (B, rows, columns) float32 on the CPU, larger where the method raises the answer more.

    ``maps | {"mine": tensor}`` adds maps of your own and keeps what the attributes say.

    Attributes:
        target: (B,) int64, the explained class of each image.
        image_ids: B names; with ``seed`` they key every random number.
        seed: of those numbers.
        explainers: method → registered name of its explainer; maps of your own have none.
        sample_maps: behind a smoothing, method → the raw maps (B, S, rows, columns) float32 of the S noise samples; else
            empty.
    """

    def __init__(
        self,
        maps: Mapping[str, Tensor],
        *,
        target: Tensor,
        image_ids: Sequence[str],
        seed: int = 0,
        explainers: Mapping[str, str] | None = None,
        sample_maps: Mapping[str, Tensor] | None = None,
    ) -> None:
        super().__init__(maps)
        self.target, self.image_ids, self.seed = target, list(image_ids), seed
        self.explainers, self.sample_maps = dict(explainers or {}), dict(sample_maps or {})

    @property
    def flags(self) -> dict[str, list[str]]:
        """Method → for each map ``"nan"`` (NaN or infinite values), ``"constant"`` (it ranks nothing), or ``""``."""
        return {method: map_flags(maps.cpu().numpy()) for method, maps in self.items()}

    @property
    def raw(self) -> dict[str, Tensor] | None:
        """Behind a smoothing, method → mean of the raw maps of the samples, which metrics of scale read; else None."""
        if not self.sample_maps:
            return None
        means = {
            m: one.numpy().mean(axis=1, dtype=np.float64).astype(np.float32) for m, one in self.sample_maps.items()
        }
        return {method: torch.from_numpy(means[method]) if method in means else maps for method, maps in self.items()}

    def __or__(self, other: Any) -> Maps:  # type: ignore[override]
        """These maps and others of the same images; where both have a method, the other's.

        Raises:
            InputError: the others are of other images, classes or seed.
        """
        if isinstance(other, Maps) and (
            other.image_ids != self.image_ids or not torch.equal(other.target, self.target) or other.seed != self.seed
        ):
            raise InputError(
                "these maps are of other images, classes or another seed; score them in a call of their own"
            )
        kept = {m for m in self if m not in other}
        facts = {
            name: {m: v for m, v in getattr(self, name).items() if m in kept} | dict(getattr(other, name, {}))
            for name in ("explainers", "sample_maps")
        }
        return Maps({**self, **other}, target=self.target, image_ids=self.image_ids, seed=self.seed, **facts)

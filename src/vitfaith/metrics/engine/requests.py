"""Hashable descriptions of the perturbed images that a metric needs; no tensors, no torch.

A ranking orders the P features of an image by decreasing relevance; features of equal value are in a random order of
the image, the same for all maps (:mod:`vitfaith.ties`). All perturbed images of all curve metrics and of SaCo remove the
features of one *interval of ranks* ``[low, high)``:

=====================  ===========================================================
most relevant first    ``[0, c)``
least relevant first   ``[P − c, P)``, which is insertion of the P − c most relevant features
one group              ``[e_i, e_{i+1})`` with the edges of :func:`group_edges`
=====================  ===========================================================

Equal images of different metrics are recognised by comparing two integers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Literal

from vitfaith.errors import InputError
from vitfaith.lazy import np
from vitfaith.rng import permutation

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vitfaith.metrics.context import ScoreContext, Segment
    from vitfaith.registry import Item

Level = Literal["patch", "pixel"]
Order = Literal["morf", "lerf"]
Salience = Literal["mean", "sum"]
Upsampling = Literal["bilinear", "nearest", "official"]
"""Enlargement of a map to pixels; ``official``: per method as in the released code of Vision DiffMask."""


@dataclass(frozen=True)
class Features:
    """A unit that is ranked and removed.

    ``patch``: a cell of the map. ``pixel``: a pixel, ranked by the map after ``upsampling``, bilinear
    (align_corners=False) by default. ``region``: a square of ``size`` pixels, ranked by its mean over the upsampled map;
    squares cut by the right or lower edge are smaller, so a sum would depend on their size.
    ``superpixel``: a segment of SLIC with about ``size`` segments, ranked by its mean over the upsampled map.
    """

    kind: Literal["patch", "pixel", "region", "superpixel"] = "patch"
    size: int = 0
    upsampling: Upsampling = "bilinear"

    def __str__(self) -> str:
        """Kind, with the size if relevant, and the upsampling if not bilinear."""
        if self.upsampling != "bilinear":
            return f"{self.kind}({self.upsampling})"
        return f"{self.kind}({self.size})" if self.size else self.kind


@dataclass(frozen=True)
class EqualSteps:
    """Counts ⌊iP/steps⌋ for i = 0 … ``last`` (default ``steps``)."""

    steps: int
    last: int | None = None

    def counts(self, total: int) -> list[int]:
        """Numbers of removed features, beginning with 0, for ``total`` = P features."""
        if self.steps > total:
            raise InputError(
                f"steps={self.steps}, but the maps have only {total} features; choose at most {total} steps"
            )
        return [i * total // self.steps for i in range((self.steps if self.last is None else self.last) + 1)]

    def __str__(self) -> str:
        """Short form for the curve tables."""
        return f"steps={self.steps}" + (f" last={self.last}" if self.last is not None else "")


@dataclass(frozen=True)
class Stride:
    """Counts 0, size, 2·size … up to P, or up to ``last`` steps if that is less."""

    size: int = 1
    last: int | None = None

    def counts(self, total: int) -> list[int]:
        """Numbers of removed features, beginning with 0, for ``total`` = P features."""
        steps = math.ceil(total / self.size)
        if self.last is not None:
            steps = min(steps, self.last)
        return [min(i * self.size, total) for i in range(steps + 1)]

    def __str__(self) -> str:
        """Short form for the curve tables."""
        return f"stride={self.size}" + (f" last={self.last}" if self.last is not None else "")


@dataclass(frozen=True)
class Shares:
    """Counts 0 and ⌈share·P⌉ for each share in (0, 1], so at least one feature is removed."""

    shares: tuple[float, ...]

    def counts(self, total: int) -> list[int]:
        """Numbers of removed features, beginning with 0, for ``total`` = P features."""
        # 0.07 · 100 is 7.000000000000001 in floating point and must give 7, so a tolerance is needed.
        return [0, *(max(1, math.ceil(share * total - 1e-9)) for share in self.shares)]

    def __str__(self) -> str:
        """Short form for the curve tables."""
        return "shares=" + ",".join(f"{share:g}" for share in self.shares)


@dataclass(frozen=True)
class KeptShares:
    """Counts 0 and P − ⌈share·P⌉ for each share in (0, 1): at least one feature is kept."""

    shares: tuple[float, ...]

    def counts(self, total: int) -> list[int]:
        """Numbers of removed features, beginning with 0, for ``total`` = P features."""
        return [0, *(total - count for count in Shares(self.shares).counts(total)[1:])]

    def __str__(self) -> str:
        """Short form for the curve tables."""
        return "kept=" + ",".join(f"{share:g}" for share in self.shares)


Grid = EqualSteps | Stride | Shares | KeptShares


@dataclass(frozen=True)
class Curve:
    """Cumulative removal along the ranking; the response's axis S follows ``grid``, beginning with the clean image."""

    order: Order
    features: Features
    fill: Item
    grid: Grid

    @property
    def name(self) -> str:
        """Column ``curve`` of the curve table."""
        return self.order

    @property
    def variant(self) -> str:
        """Column ``variant`` of the curve table."""
        return f"{self.features} {self.fill} {self.grid}"

    def intervals(
        self, totals: Sequence[int], image_ids: Sequence[str], seed: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Lower and upper ranks (B, S) for images of ``totals`` features; −1 pads images with fewer steps.

        Steps are equal for images with the same number of features, so the keys do not matter.
        """
        counts = _pad([self.grid.counts(total) for total in totals])
        upper = np.asarray(totals, dtype=np.int64)[:, None]
        if self.order == "morf":
            return np.where(counts < 0, -1, 0), counts
        return np.where(counts < 0, -1, upper - counts), np.where(counts < 0, -1, upper)


@dataclass(frozen=True)
class Groups:
    """Removal of one of ``count`` groups at a time, most relevant group first; axis S has ``count`` entries.

    ``salience`` gives the weights of the groups (see :func:`vitfaith.metrics.engine.salience.group_salience`). Requests that
    differ only in ``salience`` share all their images.
    """

    count: int
    features: Features
    fill: Item
    salience: Salience = "mean"

    name = "groups"

    @property
    def variant(self) -> str:
        """Column ``variant`` of the curve table."""
        return f"{self.features} {self.fill} k={self.count}" + (" salience=sum" if self.salience == "sum" else "")

    def edges(self, totals: Sequence[int], image_ids: Sequence[str], seed: int) -> NDArray[np.int64]:
        """Ranks (B, ``count`` + 1) between which the groups of every image lie; see :func:`group_edges`."""
        rows = [group_edges(t, self.count, seed, i) for t, i in zip(totals, image_ids, strict=True)]
        return np.array(rows, dtype=np.int64)

    def intervals(
        self, totals: Sequence[int], image_ids: Sequence[str], seed: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Lower and upper ranks (B, S): neighbouring :meth:`edges`."""
        edges = self.edges(totals, image_ids, seed)
        return edges[:, :-1], edges[:, 1:]


Interval = Curve | Groups
"""A request along the ranking of every map."""


@dataclass(frozen=True)
class Clean:
    """The images themselves: shape (B,)."""


@dataclass(frozen=True)
class Full:
    """The images with every pixel removed: shape (B,)."""

    fill: Item


@dataclass(frozen=True)
class Prepared:
    """Base of requests other than intervals; subclasses define :meth:`segment`."""

    def segment(self, context: ScoreContext) -> Segment:
        """The images, in a fixed order."""
        raise NotImplementedError


def group_edges(total: int, groups: int, seed: int, image_id: str) -> list[int]:
    """Ranks 0 = e_0 < … < e_K = ``total`` between which the ``groups`` = K groups of an image lie.

    Sizes are ⌊total/K⌋ or one more. If K does not divide ``total``, the larger groups are drawn at random per image
    (key: seed, image, K), the same for all its maps. Removing a larger group lowers the probability more, whatever the
    map, so larger groups at fixed ranks would move SaCo of a random map away from 0.

    Raises:
        InputError: more groups than features, which would leave groups empty.
    """
    if groups > total:
        raise InputError(
            f"groups={groups}, but the maps have only {total} features; choose at most {total} groups or level 'pixel'"
        )
    size, larger = divmod(total, groups)
    order = permutation(seed, image_id, "group sizes", groups, groups).tolist() if larger else range(groups)
    return list(accumulate((size + (place < larger) for place in order), initial=0))


def _pad(rows: Sequence[Sequence[int]]) -> NDArray[np.int64]:
    width = max(map(len, rows))
    return np.array([[*row, *[-1] * (width - len(row))] for row in rows], dtype=np.int64)

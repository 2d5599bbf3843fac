"""From maps to ranks, and from ranks to pixels."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vitfaith.score.plan import Features
from vitfaith.ties import tie_permutation

if TYPE_CHECKING:
    from vitfaith.score.metrics.base import ScoreContext


class Ranking:
    """Features of a batch of images: their number, their values under a map, and the pixels that they cover.

    Args:
        features: what is ranked.
        images: (B, C, H, W) float in [0, 1].
        grid: rows and columns of the maps.
        image_ids: B names; with ``seed`` they key the order of features of equal value.
        seed: the study's seed.
    """

    def __init__(
        self, features: Features, images: Tensor, grid: tuple[int, int], image_ids: Sequence[str], seed: int
    ) -> None:
        """See the class; superpixels are computed here, once."""
        self.features, self.image_ids, self.seed = features, image_ids, seed
        self.size = (int(images.shape[2]), int(images.shape[3]))
        self.grid = grid
        self.labels = segment_superpixels(images, features.size) if features.kind == "superpixel" else None
        self.device = device = images.device
        cells = {"patch": grid, "pixel": self.size}.get(features.kind)
        if features.kind == "region":
            cells = (-(-self.size[0] // features.size), -(-self.size[1] // features.size))
        self.cells = cells
        if cells is not None:
            side = (features.size, features.size)
            self.row_of, self.column_of = (
                torch.arange(length, device=device) // edge
                if features.kind == "region"
                else torch.arange(length, device=device) * number // length
                for length, number, edge in zip(self.size, cells, side, strict=True)
            )
            self.totals = [cells[0] * cells[1]] * len(images)
        else:
            assert self.labels is not None
            self.totals = [int(number) + 1 for number in self.labels.flatten(1).amax(1).tolist()]

    @cached_property
    def ties(self) -> Tensor:
        """Features in the order in which equal values are ranked, (B, P) int64; features that an image lacks come last."""
        last = torch.arange(max(self.totals))
        rows = [
            torch.cat([torch.from_numpy(tie_permutation(self.seed, image_id, total)), last[total:]])
            for image_id, total in zip(self.image_ids, self.totals, strict=True)
        ]
        return torch.stack(rows).to(self.device)

    def scores(self, maps: Tensor, index: Tensor) -> Tensor:
        """Value of every feature (N, P) float32 under ``maps`` (N, rows, columns) of the images ``index`` (N,).

        Where images differ in their number of features, missing ones are −inf, so that they rank last.
        """
        if self.features.kind == "patch":
            return maps.flatten(1)
        pixels = upsample(maps, self.size)
        if self.features.kind == "pixel":
            return pixels.flatten(1)
        if self.features.kind == "region":
            assert self.cells is not None
            side, (rows, columns) = self.features.size, self.cells
            padding = (0, columns * side - self.size[1], 0, rows * side - self.size[0])
            # In float64 a sum of equal float32 values is exact, so that regions cut by the edge tie with whole ones.
            blocks = torch.nn.functional.pad(pixels.double(), padding).reshape(len(maps), rows, side, columns, side)
            area = torch.outer(self.row_of.bincount(), self.column_of.bincount())
            return (blocks.sum((2, 4)) / area).flatten(1).float()
        assert self.labels is not None
        labels = self.labels[index].flatten(1)
        values = pixels.flatten(1).double()
        zeros = values.new_zeros(len(maps), max(self.totals))
        count = zeros.scatter_add(1, labels, torch.ones_like(values))
        total = zeros.scatter_add(1, labels, values)
        return torch.where(count > 0, total / count, -torch.inf).float()

    def ranks(self, maps: Tensor, index: Tensor) -> Tensor:
        """Rank of every feature (N, P) int64 by decreasing value, 0 the most relevant.

        Features of equal value are in the order of :func:`vitfaith.ties.tie_permutation`, which depends on the seed and
        the image: the same for all maps of the image.
        """
        ties = self.ties[index]
        order = self.scores(maps, index).gather(1, ties).argsort(stable=True, dim=1, descending=True)
        order = ties.gather(1, order)
        places = torch.arange(order.shape[1], device=order.device).expand_as(order)
        return torch.empty_like(order).scatter_(1, order, places)

    def pixels(self, removed: Tensor, index: Tensor) -> Tensor:
        """Pixels (N, H, W) bool that the features ``removed`` (N, P) bool of the images ``index`` (N,) cover."""
        if self.labels is not None:
            return removed.gather(1, self.labels[index].flatten(1)).unflatten(1, self.size)
        assert self.cells is not None
        cells = removed.unflatten(1, self.cells)
        if self.cells == self.size:
            return cells
        return cells[:, self.row_of][:, :, self.column_of]


def ranking_of(context: ScoreContext, features: Features) -> Ranking:
    """The ranking of ``features`` in ``context``, computed once."""
    if features not in context.rankings:
        rows, columns = context.maps.shape[2:]
        context.rankings[features] = Ranking(features, context.images, (rows, columns), context.image_ids, context.seed)
    return context.rankings[features]


def upsample(maps: Tensor, size: Sequence[int]) -> Tensor:
    """``maps`` (N, rows, columns) → (N, H, W), bilinear with align_corners=False.

    Written as a + t·(b − a), where ``torch.nn.functional.interpolate`` computes (1 − t)·a + t·b: the former keeps equal
    values exactly equal, so that plateaus of a map (and its clamped border) are ties, which break at random on every
    device, not by rounding.
    """
    for axis, length in zip((-2, -1), size, strict=True):
        cells = maps.shape[axis]
        place = (torch.arange(length, device=maps.device, dtype=maps.dtype) + 0.5) * (cells / length) - 0.5
        place = place.clamp(0, cells - 1)
        lower = place.long()
        share = (place - lower).unsqueeze(-1) if axis == -2 else place - lower
        start = maps.index_select(axis, lower)
        maps = start + share * (maps.index_select(axis, (lower + 1).clamp(max=cells - 1)) - start)
    return maps


def segment_superpixels(images: Tensor, segments: int) -> Tensor:
    """SLIC labels (B, H, W) int64, counted from 0 without gaps, about ``segments`` of them.

    scikit-image works on one image at a time, on the CPU; this is the only loop over images in the engine.
    """
    import numpy as np
    from skimage.segmentation import slic

    channels = images.shape[1]
    labels = []
    for image in images.permute(0, 2, 3, 1).cpu().float().numpy():
        pixels = image if channels == 3 else image[..., 0]
        found = slic(pixels, n_segments=segments, start_label=0, channel_axis=-1 if channels == 3 else None)
        _, compact = np.unique(found, return_inverse=True)
        labels.append(torch.from_numpy(compact.reshape(found.shape).astype(np.int64)))
    return torch.stack(labels).to(images.device)

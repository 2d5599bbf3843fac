"""Ranks of features from maps, and pixels from ranks."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from vitfaith.lazy import torch
from vitfaith.models.patches import Patches
from vitfaith.ties import tie_permutation

if TYPE_CHECKING:
    from torch import Tensor

    from vitfaith.metrics.context import ScoreContext
    from vitfaith.metrics.engine.requests import Features


class Ranking:
    """Features of a batch of images: their number, their values under a map, and the pixels that they cover.

    Args:
        features: the ranked units.
        images: (B, C, H, W) float in [0, 1].
        patches: positions of the maps' cells.
        image_ids: B names; with ``seed`` they key the order of features of equal value.
        seed: the study's seed.
    """

    def __init__(
        self, features: Features, images: Tensor, patches: Patches, image_ids: Sequence[str], seed: int
    ) -> None:
        """See the class; superpixels are computed once, here."""
        self.features, self.image_ids, self.seed = features, image_ids, seed
        self.size = (int(images.shape[2]), int(images.shape[3]))
        self.patches = patches
        self.labels = segment_superpixels(images, features.size) if features.kind == "superpixel" else None
        self.device, side = images.device, features.size
        self.cells = {"patch": patches, "pixel": Patches.even(self.size, self.size)}.get(features.kind)
        if features.kind == "region":
            self.cells = Patches(self.size, (-(-self.size[0] // side), -(-self.size[1] // side)), (side, side))
        if self.cells is not None:
            self.totals = [self.cells.grid[0] * self.cells.grid[1]] * len(images)
        else:
            assert self.labels is not None
            self.totals = [int(number) + 1 for number in self.labels.flatten(1).amax(1).tolist()]

    @cached_property
    def ties(self) -> Tensor:
        """Order of features with equal values, (B, P) int64; features that an image lacks come last."""
        last = torch.arange(max(self.totals))
        rows = [
            torch.cat([torch.from_numpy(tie_permutation(self.seed, image_id, total)), last[total:]])
            for image_id, total in zip(self.image_ids, self.totals, strict=True)
        ]
        return torch.stack(rows).to(self.device)

    def scores(self, maps: Tensor, index: Tensor) -> Tensor:
        """Value of every feature (N, P) float32 under ``maps`` (N, rows, columns) of the images ``index`` (N,).

        If images differ in their number of features, missing features are −inf, so they rank last.
        """
        if self.features.kind == "patch":
            return maps.flatten(1)
        pixels = self.patches.upsample(maps)
        if self.features.kind == "pixel":
            return pixels.flatten(1)
        if self.features.kind == "region":
            assert self.cells is not None
            side, (rows, columns) = self.features.size, self.cells.grid
            padding = (0, columns * side - self.size[1], 0, rows * side - self.size[0])
            # In float64 a sum of equal float32 values is exact, so regions cut by the edge tie with whole regions.
            blocks = torch.nn.functional.pad(pixels.double(), padding).reshape(len(maps), rows, side, columns, side)
            return (blocks.sum((2, 4)) / self.cells.area.to(maps.device)).flatten(1).float()
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
        return self.cells.to_pixels(removed.unflatten(1, self.cells.grid))


def ranking_of(context: ScoreContext, features: Features) -> Ranking:
    """The ranking of ``features`` in ``context``, computed once."""
    if features not in context.rankings:
        found = Ranking(features, context.images, context.patches, context.image_ids, context.seed)
        context.rankings[features] = found
    return context.rankings[features]


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

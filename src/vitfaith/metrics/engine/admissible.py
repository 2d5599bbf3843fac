"""How close a map comes to the better of two right masks: some patches, or all the others.

A network that counts cells of one colour can be told which cells have it, or which have not; both masks keep everything
that it needs. Every function takes ``maps`` (M, P) float64 of one image, one value a patch, and ``inside`` (P,) bool, the
patches of the first mask. Callers see to it that both masks have patches, or accept NaN.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vitfaith.metrics.localisation import auroc, best_iou
from vitfaith.models.patches import Patches


def patch_truth(truth: Tensor, patches: Patches) -> Tensor:
    """A segmentation (H, W) on the patch grid: (rows·columns,) int64 in {1, 0, −1}.

    A patch is what more than half of its labelled pixels are, 0 where they are equally many, −1 without any. Exact
    where every patch lies inside one segment.
    """
    height, width = patches.seen
    rows, columns = patches.place(0, truth.device)[:height], patches.place(1, truth.device)[:width]
    patch = (rows[:, None] * patches.grid[1] + columns).flatten()
    values = truth[:height, :width].flatten()
    zeros = torch.zeros(patches.grid[0] * patches.grid[1], dtype=torch.int64, device=truth.device)
    inside = zeros.scatter_add(0, patch, (values == 1).long())
    labelled = zeros.scatter_add(0, patch, (values >= 0).long())
    return torch.where(labelled == 0, -1, (2 * inside > labelled).long())


def overlaps(chosen: Tensor, inside: Tensor) -> Tensor:
    """IoU (M, 2) of the masks ``chosen`` (M, P) bool with ``inside`` and with all the others; 1 for two empty sets."""
    sides = torch.stack([inside, ~inside])
    both = (chosen[:, None] & sides).sum(2).double()
    either = (chosen[:, None] | sides).sum(2).double()
    return torch.where(either == 0, 1.0, both / either)


def side(chosen: Tensor, inside: Tensor) -> Tensor:
    """Which mask is the better one by IoU, (M,): 1 the patches ``inside``, 0 the others, 0.5 where they are equal."""
    found = overlaps(chosen, inside)
    return (1 + (found[:, 0] - found[:, 1]).sign()) / 2


def better_best_iou(maps: Tensor, inside: Tensor) -> Tensor:
    """Highest IoU (M,) that a mask ``map ≥ t`` reaches with either side, over all thresholds t; NaN where one is empty."""
    if inside.all() or not inside.any():  # the lowest threshold takes all patches, whatever the map
        return torch.full_like(maps[:, 0], torch.nan)
    return torch.maximum(best_iou(maps, inside), best_iou(maps, ~inside))


def better_auroc(maps: Tensor, inside: Tensor) -> Tensor:
    """Area under the ROC curve (M,) for the side that it is larger for, at least 0.5; NaN where a side is empty."""
    one = auroc(maps, inside)
    return torch.maximum(one, 1 - one)

"""Agreement of pixel maps with a segmented object.

Every function takes ``maps`` (M, H, W) float64 of one image and ``truth`` (H, W) with 1 object, 0 background and −1
ignored, and returns (M,) float64. Ignored pixels do not count. Callers make sure that the classes that a function
needs have labelled pixels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vitfaith.lazy import torch
from vitfaith.map_values import membership_of

if TYPE_CHECKING:
    from torch import Tensor


COUNTS = ("correct", "labelled", "intersection_background", "union_background", "intersection_object", "union_object")
"""Names of :func:`segmentation_counts`."""


def truth_flag(truth: Tensor) -> str:
    """The reason why a segmentation (H, W) allows no score (no labelled pixel, or only one class); else ""."""
    if not (truth >= 0).any():
        return "unlabelled"
    return "no object" if not (truth == 1).any() else "" if (truth == 0).any() else "no background"


def segmentation_counts(maps: Tensor, truth: Tensor) -> dict[str, Tensor]:
    """Pixel counts of the map binarised at its mean (over all pixels), strictly greater = object.

    Chefer et al. (CVPR 2021) sum them over a dataset: pixel accuracy is correct / labelled, mIoU the mean over
    background and object of intersection / union.
    """
    found = maps > maps.mean((1, 2), keepdim=True)
    labelled = truth >= 0
    correct = (found == (truth == 1)) & labelled
    counts = {"correct": correct, "labelled": labelled.expand_as(found)}
    for name, predicted, actual in (("background", ~found, truth == 0), ("object", found, truth == 1)):
        counts[f"intersection_{name}"] = predicted & actual
        counts[f"union_{name}"] = (predicted & labelled) | actual
    return {name: pixels.sum((1, 2)).double() for name, pixels in counts.items()}


def f1(maps: Tensor, truth: Tensor) -> Tensor:
    """F1 of the object for the map binarised at its mean; 0 where neither map nor truth has an object pixel."""
    counts = segmentation_counts(maps, truth)
    both = counts["intersection_object"]
    return torch.where(both > 0, 2 * both / (counts["union_object"] + both), 0.0)


def average_precision(scores: Tensor, positive: Tensor) -> Tensor:
    """Average precision (M,) of ``scores`` (M, N) for the entries ``positive`` (N,) bool; its expectation over orders of ties.

    AP = (1/n) Σ over positive entries of the precision at their place in a ranking of all N. Equal scores have no order,
    so the value is the expectation of AP over uniformly random orders. Take a run of g equal scores with h positive entries,
    after M entries with p positive ones. Its j-th place holds a positive entry with probability h/g; then p + 1 +
    (j − 1)(h − 1)/(g − 1) entries up to it are positive on average. Without ties the result is scikit-learn's
    ``average_precision_score``. With ties, scikit-learn computes :func:`threshold_average_precision`, which counts a whole
    run with the precision at its end. Written by hand, because no library has the expectation over ties.
    """
    hits, places, last = _thresholds(scores, positive)
    index = torch.arange(scores.shape[1], device=scores.device)
    begins = torch.nn.functional.pad(last[:, :-1], (1, 0), value=-1) + 1 == index
    first = torch.where(begins, index, 0).cummax(1).values
    before = first.double()
    hits_before = torch.nn.functional.pad(hits, (1, 0)).gather(1, first)
    size, positives = last - first + 1, hits.gather(1, last) - hits_before
    others = (places - before - 1) * (positives - 1) / (size - 1).clamp(min=1)
    return (positives / size * ((hits_before + 1 + others) / places)).sum(1) / positive.sum()


def threshold_average_precision(scores: Tensor, positive: Tensor) -> Tensor:
    """Average precision (M,) over the thresholds on ``scores`` (M, N): Σ (R_t − R_before) · P_t, with P_t the precision and R_t
    the recall of the entries with scores of at least t.

    Equal scores share one threshold, as in scikit-learn's ``average_precision_score``.
    """
    hits, places, last = _thresholds(scores, positive)
    precision = (hits / places).gather(1, last)
    step = hits.diff(dim=1, prepend=torch.zeros_like(hits[:, :1]))
    return (step * precision).sum(1) / positive.sum()


def two_channel_average_precision(maps: Tensor, truth: Tensor) -> Tensor:
    """Average precision of the pair (1 − map, map) against the pair (background, object), flattened together.

    ``maps`` lie in [0, 1]. Chefer et al. (CVPR 2021) average it over images and call it mAP; their code calls
    scikit-learn, so equal scores share one threshold.
    """
    labelled = truth >= 0
    scores, actual = maps[:, labelled], truth[labelled] == 1
    return threshold_average_precision(torch.cat([1 - scores, scores], 1), torch.cat([~actual, actual]))


def auroc(scores: Tensor, positive: Tensor) -> Tensor:
    """Area under the ROC curve (M,): probability that a positive entry scores above a negative one; ties count half."""
    hits, places, last = _thresholds(scores, positive)
    misses = places - hits
    # straight lines between the ends of runs of equal scores
    ends = torch.cat([torch.ones_like(last[:, :1], dtype=torch.bool), last[:, 1:] != last[:, :-1]], 1)
    areas = torch.zeros(len(scores), dtype=torch.float64, device=scores.device)
    for row in range(len(scores)):
        run = last[row, ends[row]]
        y = torch.nn.functional.pad(hits[row, run], (1, 0))
        x = torch.nn.functional.pad(misses[row, run], (1, 0))
        areas[row] = torch.trapezoid(y, x)
    return areas / (positive.sum() * (~positive).sum())


def best_iou(scores: Tensor, positive: Tensor) -> Tensor:
    """Highest IoU (M,) between the positive entries and the entries that score at least some threshold.

    A threshold takes all entries of equal score or none, so their order does not matter.
    """
    hits, places, last = _thresholds(scores, positive)
    return (hits / (positive.sum() + places - hits)).gather(1, last).amax(1)


def rank_accuracy(scores: Tensor, positive: Tensor) -> Tensor:
    """Share (M,) of positive entries among the first |positive| entries; expectation over orders of equal scores."""
    count = int(positive.sum())
    return (membership_of(scores, count) * positive).sum(1) / count


def mass_accuracy(maps: Tensor, truth: Tensor) -> Tensor:
    """Share (M,) of the positive part's mass on the object; NaN where no labelled pixel is positive."""
    mass = maps.clamp(min=0) * (truth >= 0)
    return (mass * (truth == 1)).sum((1, 2)) / mass.sum((1, 2))


def pointing_hit(maps: Tensor, truth: Tensor, tolerance: float) -> Tensor:
    """Whether an object pixel is within ``tolerance`` pixels (Euclidean) of the map's maximum, 0 or 1.

    If several pixels share the maximum, the value is the share of these pixels that hit.
    """
    from scipy.ndimage import distance_transform_edt

    distance = torch.from_numpy(distance_transform_edt((truth != 1).cpu().numpy())).to(maps.device)
    highest = maps == maps.amax((1, 2), keepdim=True)
    return (highest & (distance <= tolerance)).sum((1, 2)).double() / highest.sum((1, 2))


def _thresholds(scores: Tensor, positive: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """By falling score: positives so far (M, N), entries so far (N,), last entry of equal score per entry (M, N)."""
    ordered, order = scores.sort(dim=1, descending=True, stable=True)
    hits = positive[order].double().cumsum(1)
    number = scores.shape[1]
    places = torch.arange(1, number + 1, device=scores.device, dtype=torch.float64)
    ends = torch.nn.functional.pad(ordered[:, 1:] != ordered[:, :-1], (0, 1), value=True)
    last = torch.where(ends, torch.arange(number, device=scores.device), number - 1)
    last = last.flip(1).cummin(1).values.flip(1)
    return hits, places.expand_as(hits), last

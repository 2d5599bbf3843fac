"""Masked copies of images and the classifier's answers to them, in batches of bounded size and without gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from vitfaith.errors import InputError
from vitfaith.lazy import torch
from vitfaith.models.colours import black, channel_mean, image_mean

if TYPE_CHECKING:
    from torch import Tensor

    from vitfaith.explainers.passes.context import Context
    from vitfaith.models.classifier import Classifier
    from vitfaith.models.patches import Patches

Fill = Literal["black", "image_mean", "channel_mean", "model_mean"]
"""Replacement of hidden pixels: 0; the image's mean over pixels and channels; its mean in each channel; the mean that
the classifier's normalisation subtracts, so that the network itself sees 0."""

COLOURS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "black": black,
    "image_mean": image_mean,
    "channel_mean": channel_mean,
}

Score = Literal["probability", "logit"]
"""Which answer for the target class is explained: softmax probability or logit."""

Pool = Literal["sum", "mean"]

Resolution = Literal["patch", "pixel"]
"""Size of a map: the patch grid, or the image."""

Build = Callable[[int, int, int], "Tensor"]
"""``build(image, start, stop)``: the perturbed copies ``start … stop - 1`` of one image, (stop - start, C, H, W)."""

Piece = tuple[int, int, int]


def fill_values(classifier: Classifier, images: Tensor, fill: Fill) -> Tensor:
    """Replacement values (B, C, 1, 1) in [0, 1] for ``images`` (B, C, H, W); each row depends on its image alone."""
    if fill == "model_mean":
        return classifier.mean.to(images.dtype).expand(len(images), -1, -1, -1)
    if fill not in COLOURS:
        raise InputError(f"fill is '{fill}'; use black, image_mean, channel_mean or model_mean")
    return COLOURS[fill](images).expand(-1, images.shape[1], -1, -1)


def blend(image: Tensor, keep: Tensor, fill: Tensor) -> Tensor:
    """``keep``·image + (1 - ``keep``)·fill.

    Args:
        image: (C, H, W).
        keep: (k, H, W) in [0, 1]; 1 keeps the pixel, 0 replaces it.
        fill: (C, 1, 1).

    Returns:
        (k, C, H, W); exact (no rounding) where ``keep`` is 0 or 1.
    """
    keep = keep.to(image.dtype)[:, None]
    return keep * image + (1 - keep) * fill


def at_resolution(pixels: Tensor, patches: Patches, resolution: Resolution, *, pool: Pool) -> Tensor:
    """Pixel fields (B, H, W) float32 as they are, or as ``pool`` over each patch, (B, rows, columns).

    Sums for signed contributions, which add up to the map's total; means for magnitudes.
    """
    if resolution == "pixel":
        return pixels
    return patches.mean(pixels) if pool == "mean" else patches.sum(pixels)


def target_scores(logits: Tensor, targets: Tensor, score: Score) -> Tensor:
    """The explained number (N,) float64 from ``logits`` (N, K) for the classes ``targets`` (N,) int64.

    In double precision, because explainers subtract answers that hardly differ.
    """
    logits = logits.double()
    values = logits.softmax(-1) if score == "probability" else logits
    return values.gather(1, targets[:, None])[:, 0]


def forward(classifier: Classifier, images: Tensor) -> Tensor:
    """Logits (N, K) float32 without gradients."""
    # here and not above: it imports torch
    from vitfaith.models.fast.linear import quick_linear_layers

    with torch.no_grad(), quick_linear_layers(classifier):
        return classifier(images).float()


def clean_logits(context: Context) -> Tensor:
    """Logits (B, K) float32 of the context's own images.

    They cost one forward pass per image and context: every explainer of the batch shares them, and they cost nothing
    where the shared capture has already run.
    """
    if "capture" in vars(context):  # a cached property: there once it has run
        return context.capture.logits.detach().float()
    parts = context.images.split(context.batch_size)
    return context.once("clean logits", lambda: torch.cat([forward(context.classifier, part) for part in parts]))


def answers(context: Context, counts: Sequence[int], build: Build, score: Score) -> list[Tensor]:
    """Target scores of perturbed copies: for each image i a tensor (counts[i],) float64.

    Copies of different images share batches of at most ``context.batch_size``, and only one batch of them exists at
    a time. Costs ``counts[i]`` forward passes for image i.
    """
    found: list[list[Tensor]] = [[] for _ in counts]
    for batch in batches(counts, context.batch_size):
        copies = torch.cat([build(*piece) for piece in batch])
        sizes = [stop - start for _, start, stop in batch]
        targets = torch.cat(
            [context.targets[image].expand(size) for (image, _, _), size in zip(batch, sizes, strict=True)]
        )
        scores = target_scores(forward(context.classifier, copies), targets, score)
        for (image, _, _), part in zip(batch, scores.split(sizes), strict=True):
            found[image].append(part)
    return [torch.cat(parts) if parts else context.images.new_zeros(0, dtype=torch.float64) for parts in found]


def batches(counts: Sequence[int], limit: int) -> Iterator[list[Piece]]:
    """Cut the copies 0 … counts[i] - 1 of all images i into lists of pieces (i, start, stop) of ``limit`` copies."""
    batch: list[Piece] = []
    room = limit
    for image, count in enumerate(counts):
        start = 0
        while start < count:
            stop = min(count, start + room)
            batch.append((image, start, stop))
            room -= stop - start
            start = stop
            if room == 0:
                yield batch
                batch, room = [], limit
    if batch:
        yield batch


def weighted_coverage(scores: Tensor, masks: Tensor) -> Tensor:
    """Mean score of the masks that cover a cell, weighted by how much: Σ_k s_k m_k / Σ_k m_k.

    Args:
        scores: (k,).
        masks: (k, ...) in [0, 1].

    Returns:
        (...) float32. A cell that no mask covers gets the mean of all scores, which neither favours nor punishes it.
    """
    cover = masks.sum(0)
    scores = scores.to(masks.dtype)
    total = torch.einsum("k,k...->...", scores, masks)
    return torch.where(cover > 0, total / cover.clamp_min(torch.finfo(cover.dtype).tiny), scores.mean())

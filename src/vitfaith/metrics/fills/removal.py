"""Random removal of patches, to train a classifier on images as metrics perturb them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from pydantic import Field, model_validator

from vitfaith.errors import ConfigError
from vitfaith.lazy import torch
from vitfaith.metrics.context import ScoreContext
from vitfaith.metrics.fills.registry import Fill, prepare_fill
from vitfaith.registry import Parameters, named_ids
from vitfaith.rng import generator

if TYPE_CHECKING:
    from torch import Tensor

    from vitfaith.models.classifier import Classifier

    Remove = Callable[[Tensor, Sequence[str]], Tensor]
    """``(images (B, C, H, W) in [0, 1], B names) -> the images without some patches``; the names key the random numbers."""


class Removal(Parameters):
    """Share of the patches that a training removes, and their replacement."""

    fill: Fill = Field("image_mean", validate_default=True)
    up_to: float = Field(
        1.0,
        gt=0,
        le=1,
        description="largest share of the patches that is removed; the number of removed patches is drawn uniformly from 0 to "
        "that: 1 as in IDSDS (arXiv 2407.11910), a small share as in F-Fidelity (arXiv 2410.02970)",
    )

    @model_validator(mode="after")
    def _of_the_image_alone(self) -> Removal:
        if self.fill.name == "given" or any(ids for _, ids, _ in named_ids(self.fill.parameters)):
            raise ValueError(
                f"fill '{self.fill.name}' needs another network or an in-fill from the caller, which a training does not have; "
                "name a fill that depends only on the image, such as image_mean, blur or noisy_linear"
            )
        return self


def removed_patches(ids: Sequence[str], patches: int, most: int, seed: int) -> Tensor:
    """A random set of patches per image, (B, ``patches``) bool: a uniform number from 0 to ``most``, then a uniform set.

    Row i depends only on ``seed`` and ``ids[i]``.
    """
    removed = torch.zeros(len(ids), patches, dtype=torch.bool)
    for row, id_ in zip(removed, ids, strict=True):
        source = generator(seed, id_, "removal")
        count = int(torch.randint(most + 1, (), generator=source))
        row[torch.randperm(patches, generator=source)[:count]] = True
    return removed


def remover(removal: Removal, classifier: Classifier, seed: int) -> Remove:
    """A function that removes random patches of the classifier's grid from images.

    Raises:
        ConfigError: ``removal.up_to`` is less than one patch.
        InputError: the model has no patches.
    """
    rows, columns = classifier.grid
    most = int(removal.up_to * rows * columns + 1e-9)
    if not most:
        raise ConfigError(
            f"training: removal.up_to is {removal.up_to}, less than one of {rows * columns} patches; raise it"
        )

    def remove(images: Tensor, ids: Sequence[str]) -> Tensor:
        removed = removed_patches(ids, rows * columns, most, seed).unflatten(1, (rows, columns)).to(images.device)
        return fill_patches(removal, classifier, images, removed, ids, seed)

    return remove


def fill_patches(
    removal: Removal, classifier: Classifier, images: Tensor, removed: Tensor, ids: Sequence[str], seed: int
) -> Tensor:
    """``images`` (B, C, H, W) in [0, 1] whose patches ``removed`` (B, rows, columns) bool are filled; ids key the noise."""
    count = len(images)
    context = ScoreContext(
        classifier,
        images,
        images.new_zeros(count, dtype=torch.int64),
        ids,
        (),
        images.new_zeros(count, 0, *classifier.grid),
        images.new_zeros(count, 0, dtype=torch.bool),
        seed,
    )
    filling = prepare_fill(removal.fill, context)
    pixels = classifier.patches.to_pixels(removed.to(torch.uint8)).bool()
    if isinstance(filling, torch.Tensor):
        return torch.where(pixels[:, None], filling, images)
    return filling(images, pixels, torch.arange(count, device=images.device))

"""Train a small timm ViT on a labelled image set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from vitfaith.models.classifier import Classifier, build_backbone, freeze
from vitfaith.models.training.fine_tuning import rates, take_over
from vitfaith.models.training.loop import fit
from vitfaith.models.training.recipe import ClassifierRecipe
from vitfaith.models.training.resume import Checkpoint, key_of
from vitfaith.rng import derive_seed
from vitfaith.transfer import upload

Remove = Callable[[Tensor, Sequence[str]], Tensor]
"""``(images (B, C, H, W) in [0, 1], B names) -> the images without some patches``; the names key the random numbers."""


def sincos_position_embedding(dim: int, rows: int, columns: int, prefix_tokens: int) -> Tensor:
    """2-D sine–cosine table (1, prefix + rows·columns, dim) float32; prefix rows are zero. ``dim`` divisible by 4."""
    quarter = dim // 4
    frequency = 1.0 / 10000 ** (torch.arange(quarter, dtype=torch.float64) / quarter)
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    parts = [f(axis.reshape(-1, 1) * frequency) for axis in (x, y) for f in (torch.sin, torch.cos)]
    table = torch.cat(parts, dim=1).float()
    return torch.cat([torch.zeros(prefix_tokens, table.shape[1]), table])[None]


def augment(images: Tensor, recipe: ClassifierRecipe, seed: int, step: int) -> Tensor:
    """Random shift and flip of a batch (B, C, H, W), keyed by (seed, step)."""
    rng = np.random.default_rng(derive_seed(seed, "batch", "augment", step))
    count, _, height, width = images.shape
    padded = functional.pad(images, [recipe.shift] * 4)
    dy, dx = rng.integers(0, 2 * recipe.shift + 1, (2, count))
    rows = torch.from_numpy(dy)[:, None] + torch.arange(height)
    columns = torch.from_numpy(dx)[:, None] + torch.arange(width)
    if recipe.flip:
        flipped = torch.from_numpy(rng.random(count) < 0.5)
        columns = torch.where(flipped[:, None], columns.flip(1), columns)
    return padded[torch.arange(count)[:, None, None], :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


@torch.inference_mode()
def accuracy(classifier: nn.Module, images: Tensor, labels: Tensor, batch_size: int = 500) -> float:
    """Share of ``images`` (N, C, H, W) in [0, 1] whose predicted class equals ``labels`` (N,)."""
    hits = [
        (classifier(x).argmax(1) == y).sum()
        for x, y in zip(images.split(batch_size), labels.split(batch_size), strict=True)
    ]
    return float(torch.stack(hits).sum()) / len(labels)


def _start_position_table(classifier: Classifier) -> None:
    table = getattr(classifier.backbone, "pos_embed", None)
    if isinstance(table, nn.Parameter) and table.shape[-1] % 4 == 0:
        embedding: Any = classifier.backbone.patch_embed
        rows, columns = embedding.grid_size  # of the table; timm resizes it where padding adds patches
        table.data.copy_(0.2 * sincos_position_embedding(table.shape[-1], rows, columns, classifier.prefix_tokens))


def train_classifier(
    architecture: str,
    arguments: dict[str, Any],
    train: tuple[NDArray[np.uint8], NDArray[np.int64]],
    test: tuple[NDArray[np.uint8], NDArray[np.int64]],
    recipe: ClassifierRecipe,
    *,
    seed: int,
    device: str = "cpu",
    removing: Callable[[Classifier], Remove] | None = None,
    checkpoint: Path | None = None,
    facts: Sequence[Any] = (),
) -> tuple[Classifier, list[dict[str, Any]]]:
    """Train timm's ``architecture``; returns the averaged classifier and the log, one row per epoch.

    Images are uint8 (N, C, H, W). From scratch, the normalisation is the training set's channel mean and standard
    deviation, and the position table starts from a 2-D sine–cosine pattern, which small ViTs need to learn quickly.
    With ``recipe.start_from`` both come with the weights and the architecture.

    Args:
        removing: makes the function that removes random patches from the images of each step. The log then has
            ``removed_accuracy`` beside ``test_accuracy``: of the test images with patches removed, the same at every epoch.
        checkpoint: file from which a killed training continues, to the same bits; remove it after saving the network.
        facts: JSON values that ``checkpoint`` must agree with beside the recipe, such as the settings of ``removing``.

    Raises:
        ArtifactError: weights to start from, or ``checkpoint``, are damaged or do not fit.
        ConfigError: the recipe does not fit the architecture.
        VitfaithError: the loss became NaN or infinite.
    """
    torch.manual_seed(derive_seed(seed, architecture, "initialise"))
    images = torch.from_numpy(train[0]).float().div_(255)
    labels = torch.from_numpy(train[1])
    backbone = build_backbone(architecture, arguments)
    if recipe.start_from is not None:
        mean, std = take_over(backbone, recipe.start_from, keep_head=recipe.keep_head)
        classifier = Classifier(backbone, mean, std).to(device)
    else:
        mean, std = images.mean((0, 2, 3)).tolist(), images.std((0, 2, 3)).tolist()
        classifier = Classifier(backbone, mean, std)
        _start_position_table(classifier)
        classifier = classifier.to(device)
    test_images = torch.from_numpy(test[0]).float().div_(255).to(device)
    test_labels = torch.from_numpy(test[1]).to(device)

    remove = None if removing is None else removing(classifier)
    tests = {"test_accuracy": test_images}
    if remove is not None:
        tests["removed_accuracy"] = torch.cat(
            [
                remove(part, [f"test {500 * i + j}" for j in range(len(part))])
                for i, part in enumerate(test_images.split(500))
            ]
        )

    def loss_of(indices: NDArray[np.int64], step: int) -> Tensor:
        picked = torch.from_numpy(indices)
        x = upload(augment(images[picked], recipe, seed, step), device)
        if remove is not None:
            x = remove(x, [f"{index} {step}" for index in indices])
        return functional.cross_entropy(
            classifier(x), upload(labels[picked], device), label_smoothing=recipe.label_smoothing
        )

    key = key_of(architecture, arguments, recipe.model_dump(mode="json"), seed, len(images), device, *facts)
    averaged, log = fit(
        classifier,
        loss_of,
        recipe,
        count=len(images),
        seed=seed,
        evaluate=lambda net: {name: accuracy(net, shown, test_labels) for name, shown in tests.items()},
        rate_of=rates(classifier, recipe),
        checkpoint=None if checkpoint is None else Checkpoint(checkpoint, key),
    )
    assert isinstance(averaged, Classifier)
    return freeze(averaged), log

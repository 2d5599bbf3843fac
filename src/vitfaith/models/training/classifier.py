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

from vitfaith.errors import ConfigError
from vitfaith.models.classifier import Classifier, build_backbone, freeze
from vitfaith.models.training.augmentation import augment
from vitfaith.models.training.fine_tuning import rates, take_over
from vitfaith.models.training.loop import fit, steps_per_epoch
from vitfaith.models.training.optimiser import inner_matrices
from vitfaith.models.training.patch_dropout import start_dropping, stop_dropping
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


def distillation_loss(logits: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Mean over images of T² KL(softmax(``teacher`` / T) ‖ softmax(``logits`` / T)), in nats; both (B, K).

    The factor T² keeps the size of the gradient the same at every temperature T. Source: Hinton et al., arXiv 1503.02531.
    """
    own, taught = (functional.log_softmax(x / temperature, 1) for x in (logits, teacher))
    return temperature**2 * functional.kl_div(own, taught, reduction="batchmean", log_target=True)


@torch.inference_mode()
def accuracy(classifier: nn.Module, images: Tensor, labels: Tensor, batch_size: int = 500) -> float:
    """Share of ``images`` (N, C, H, W) in [0, 1] whose predicted class equals ``labels`` (N,)."""
    hits = [
        (classifier(x).argmax(1) == y).sum()
        for x, y in zip(images.split(batch_size), labels.split(batch_size), strict=True)
    ]
    return float(torch.stack(hits).sum()) / len(labels)


def without_patches(images: Tensor, remove: Remove, part: int = 500) -> Tensor:
    """Test images (N, C, H, W) in [0, 1] without random patches, the same at every epoch: what ``removed_accuracy`` of a log is measured on."""
    parts = [remove(x, [f"test {part * i + j}" for j in range(len(x))]) for i, x in enumerate(images.split(part))]
    return torch.cat(parts)


def _start_position_table(classifier: Classifier) -> None:
    table = getattr(classifier.backbone, "pos_embed", None)
    if isinstance(table, nn.Parameter) and table.shape[-1] % 4 == 0:
        embedding: Any = classifier.backbone.patch_embed
        rows, columns = embedding.grid_size  # of the table; timm resizes it where padding adds patches
        table.data.copy_(0.2 * sincos_position_embedding(table.shape[-1], rows, columns, classifier.prefix_tokens))


def require_alike(network: Classifier, model: Classifier, name: str, key: str) -> None:
    """Raise :class:`ConfigError` unless a network that a model learns from takes its images and has its classes."""
    sizes = [(one.input_shape, one.num_classes) for one in (network, model)]
    if sizes[0] != sizes[1]:
        raise ConfigError(
            f"training: {name} takes {network.input_shape} and has {network.num_classes} classes, the model takes "
            f"{model.input_shape} and has {model.num_classes}; name one that fits in {key}"
        )


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
    teacher: Classifier | None = None,
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
        teacher: network for ``recipe.teacher``, on ``device``; it sees the images as the trained network sees them.
        checkpoint: file from which a killed training continues, to the same bits; remove it after saving the network.
        facts: JSON values that ``checkpoint`` must agree with beside the recipe, such as the settings of ``removing``.

    Raises:
        ArtifactError: weights to start from, or ``checkpoint``, are damaged or do not fit.
        ConfigError: the recipe does not fit the architecture, or the teacher the network: other images or classes.
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
    if teacher is not None:
        require_alike(teacher, classifier, f"the teacher '{recipe.teacher}'", "teacher")
    test_images = torch.from_numpy(test[0]).float().div_(255).to(device)
    test_labels = torch.from_numpy(test[1]).to(device)

    remove = None if removing is None else removing(classifier)
    tests = {"test_accuracy": test_images}
    if remove is not None:
        tests["removed_accuracy"] = without_patches(test_images, remove)

    dropout = start_dropping(backbone, recipe.patch_dropout)
    dropping = (recipe.epochs - recipe.whole_epochs) * steps_per_epoch(recipe, len(images))

    def loss_of(indices: NDArray[np.int64], step: int) -> Tensor:
        if dropout is not None:
            dropout.prob = recipe.patch_dropout if step < dropping else 0.0
        picked = torch.from_numpy(indices)
        x = upload(augment(images[picked], recipe, seed, step), device)
        if remove is not None:
            x = remove(x, [f"{index} {step}" for index in indices])
        logits = classifier(x)
        loss = functional.cross_entropy(logits, upload(labels[picked], device), label_smoothing=recipe.label_smoothing)
        if teacher is None:
            return loss
        with torch.no_grad():
            taught = teacher(x)
        return torch.lerp(loss, distillation_loss(logits, taught, recipe.temperature), recipe.teacher_share)

    key = key_of(architecture, arguments, recipe.model_dump(mode="json"), seed, len(images), device, *facts)
    averaged, log = fit(
        classifier,
        loss_of,
        recipe,
        count=len(images),
        seed=seed,
        evaluate=lambda net: {name: accuracy(net, shown, test_labels) for name, shown in tests.items()},
        rate_of=rates(classifier, recipe),
        orthogonal=frozenset(f"backbone.{name}" for name in inner_matrices(backbone))
        if recipe.optimiser == "muon"
        else frozenset(),
        checkpoint=None if checkpoint is None else Checkpoint(checkpoint, key),
    )
    assert isinstance(averaged, Classifier)
    if dropout is not None:
        stop_dropping(averaged.backbone)
    return freeze(averaged), log

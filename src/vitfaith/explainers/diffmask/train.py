"""Training a DiffMask on a frozen classifier."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from vitfaith.artifacts.tensors import unit_pixels
from vitfaith.errors import ConfigError, VitfaithError
from vitfaith.explainers.diffmask.files import digest_of
from vitfaith.explainers.diffmask.hard_concrete import HardConcrete
from vitfaith.explainers.diffmask.network import DiffMask, new_diffmask, start_beta
from vitfaith.explainers.diffmask.passes import clean_pass, divergence, masked_pass
from vitfaith.explainers.diffmask.recipe import DiffMaskRecipe
from vitfaith.explainers.diffmask.resume import Progress, load_progress, save_progress
from vitfaith.explainers.diffmask.states import patch_embedding
from vitfaith.explainers.diffmask.steps import Measured, OfficialStep, SharedStep, Step, explained_classes
from vitfaith.models.classifier import Classifier, freeze, frozen
from vitfaith.models.training.loop import batches
from vitfaith.rng import generator
from vitfaith.transfer import upload

Images = NDArray[np.uint8]


def train_diffmask(
    classifier: Classifier,
    train: Images,
    test: Images,
    recipe: DiffMaskRecipe,
    *,
    class_specific: bool = False,
    checkpoint: Path | None = None,
) -> tuple[DiffMask, list[dict[str, Any]]]:
    """Train on uint8 images (N, C, H, W) of the classifier's size; equal arguments give equal bits.

    Args:
        classifier: any timm ViT, on the device to train on; it is left as it was, mode and ``requires_grad`` included.
        train: images to train on; no labels are needed.
        test: images for the log; at most ``recipe.held_out`` of them are used.
        recipe: see :class:`DiffMaskRecipe`.
        class_specific: masks of a class, whose probability alone the masked image must keep.
        checkpoint: file from which a killed training continues, to the same bits; remove it after saving the network.

    Returns:
        The DiffMask, frozen, and the log: one row per ``log_every`` steps with step, images, and the means since the last row
        of kl (nats), kept_share, objective, multiplier (mean over gates where there are several), agreement (share of
        images with an unchanged prediction) and gradient_norm, all of sampled masks; test_kl, test_kept_share and
        test_agreement of the expected masks of held-out images, where they were looked at, else None.

    Raises:
        ConfigError: fewer images than a batch.
        VitfaithError: loss or gradient are not finite; the text gives the step.
        ArtifactError: ``checkpoint`` is damaged.
    """
    if len(train) < recipe.batch_size:
        raise ConfigError(f"training: batch_size is {recipe.batch_size}, but there are {len(train)} images")
    total = recipe.epochs * (len(train) // recipe.batch_size)
    total = total if recipe.steps is None else min(total, recipe.steps)
    with torch.inference_mode(False), torch.enable_grad(), frozen(classifier):
        images, held_out = torch.from_numpy(train), torch.from_numpy(test[: recipe.held_out])
        network = _start(classifier, _batch(images, _first(len(train), recipe), classifier), recipe, class_specific)
        stepper: Step = (
            SharedStep(classifier, network, recipe, total)
            if recipe.mode == "dual_ascent"
            else OfficialStep(classifier, network, recipe)
        )
        key = _key(classifier, recipe, class_specific, len(train))
        progress = Progress() if checkpoint is None else load_progress(checkpoint, key, network, stepper)
        means = _Means(classifier.mean.device)
        saved = progress.step
        bar = tqdm(total=total, initial=progress.step, desc="DiffMask", mininterval=10)
        for indices in _indices(len(train), recipe, progress.step, total):
            means.add(stepper(_batch(images, indices, classifier), progress.step), progress.step)
            progress.step += 1
            bar.update()
            last = progress.step == total
            if not last and progress.step % recipe.log_every:
                continue
            row = {"step": progress.step, "images": progress.step * recipe.batch_size, **means.take()}
            progress.log.append(row)
            bar.set_postfix({k: f"{row[k]:.3g}" for k in ("kl", "kept_share", "multiplier")}, refresh=False)
            if last or _due(progress, recipe):
                row |= evaluate(network, classifier, held_out, recipe.seed)
                if _stops(progress, recipe, row):
                    break
            if checkpoint is not None and not last and progress.step - saved >= recipe.checkpoint_every:
                save_progress(checkpoint, key, network, stepper, progress)
                saved = progress.step
        bar.close()
    return freeze(network), progress.log


@torch.no_grad()
def evaluate(
    network: DiffMask, classifier: Classifier, images: Tensor, seed: int = 0, batch_size: int = 256
) -> dict[str, float]:
    """test_kl, test_kept_share and test_agreement of the expected masks of uint8 ``images`` (N, C, H, W).

    The classes of a class-specific DiffMask are drawn as in training.
    """
    sums = {"test_kl": 0.0, "test_kept_share": 0.0, "test_agreement": 0.0}
    for start in range(0, len(images), batch_size):
        part = unit_pixels(upload(images[start : start + batch_size], classifier.mean.device))
        clean, states = clean_pass(classifier, part)
        targets = explained_classes(clean, seed, -1 - start) if network.class_specific else None
        keep = network.map_of(network.locations(states, targets))
        masked = masked_pass(classifier, part, keep, network.placeholder)
        sums["test_kl"] += float(divergence(clean, masked, targets).sum())
        sums["test_kept_share"] += float(keep.mean(1).sum())
        sums["test_agreement"] += float((clean.argmax(1) == masked.argmax(1)).sum())
    return {name: value / max(1, len(images)) for name, value in sums.items()}


def _start(classifier: Classifier, images: Tensor, recipe: DiffMaskRecipe, class_specific: bool) -> DiffMask:
    """Untrained gates; β such that ``recipe.kept_share`` of the patches of ``images`` is kept in expectation."""
    network = new_diffmask(
        classifier,
        distribution=HardConcrete(recipe.temperature, recipe.low, recipe.high),
        hidden=recipe.hidden,
        stretch=recipe.stretch,
        beta=recipe.beta,
        class_specific=class_specific,
        generator=generator(recipe.seed, "diffmask", "initialise"),
    )
    if recipe.placeholder == "mean_colour":
        network.placeholder.requires_grad_(False).copy_(_mean_colour(classifier))
    if recipe.kept_share is not None:
        with torch.no_grad():
            clean, states = clean_pass(classifier, images)
            centred = network.gates.centred(states, clean.argmax(1))
            network.gates.beta.fill_(start_beta(centred, network.distribution, recipe.stretch, recipe.kept_share))
    return network


@torch.no_grad()
def _mean_colour(classifier: Classifier) -> Tensor:
    """(D,): the embedding of a patch of the colour that the model's normalisation maps to zero."""
    channels, height, width = classifier.input_shape
    image = classifier.mean.reshape(1, channels, 1, 1).expand(1, channels, height, width)
    return patch_embedding(classifier, image)[0].mean(0)


def _first(count: int, recipe: DiffMaskRecipe) -> NDArray[np.int64]:
    return next(batches(count, recipe.batch_size, 0, recipe.seed))


def _batch(images: Tensor, indices: NDArray[np.int64], classifier: Classifier) -> Tensor:
    return unit_pixels(upload(images[torch.from_numpy(indices)], classifier.mean.device))


def _indices(count: int, recipe: DiffMaskRecipe, start: int, total: int) -> Iterator[NDArray[np.int64]]:
    """The batches of steps ``start`` … ``total`` − 1."""
    a_epoch = count // recipe.batch_size
    for epoch in range(start // a_epoch, math.ceil(total / a_epoch)):
        for i, indices in enumerate(batches(count, recipe.batch_size, epoch, recipe.seed)):
            if start <= epoch * a_epoch + i < total:
                yield indices


def _due(progress: Progress, recipe: DiffMaskRecipe) -> bool:
    """Whether the held-out images are looked at: at the first row behind each multiple of ``evaluate_every``."""
    before = progress.log[-2]["step"] if len(progress.log) > 1 else 0
    return bool(progress.step // recipe.evaluate_every > before // recipe.evaluate_every)


def _stops(progress: Progress, recipe: DiffMaskRecipe, row: dict[str, Any]) -> bool:
    """Whether the kept share has stopped to fall while the masks cost no more than the margin."""
    if recipe.patience == 0:
        return False
    if row["test_kl"] <= recipe.margin and row["test_kept_share"] < progress.best:
        progress.best, progress.waited = row["test_kept_share"], 0
    elif progress.best < float("inf"):
        progress.waited += 1
    return progress.waited >= recipe.patience


def _key(classifier: Classifier, recipe: DiffMaskRecipe, class_specific: bool, count: int) -> str:
    """Identity of a training, so checkpoints of different trainings are not mixed up."""
    facts = [recipe.model_dump(mode="json"), class_specific, count, digest_of(classifier.backbone)]
    if recipe.mode == "official":
        facts.append("a parameter for each gate")  # one optimiser state for all gates cannot be gone on from
    return hashlib.blake2b(json.dumps(facts, sort_keys=True).encode(), digest_size=8).hexdigest()


class _Means:
    """Means of what steps measured, kept on the device until a row of the log is due."""

    def __init__(self, device: torch.device) -> None:
        self.sums: Measured = {}
        self.count = 0
        self.broken = torch.full((), -1, dtype=torch.int64, device=device)

    def add(self, measured: Measured, step: int) -> None:
        """Add a step, and note it where loss or gradient are not finite."""
        finite = torch.isfinite(measured["gradient_norm"] + measured["kl"] + measured["objective"])
        self.broken = torch.where(finite | (self.broken >= 0), self.broken, step)
        self.sums = {name: value + self.sums.get(name, 0.0) for name, value in measured.items()}
        self.count += 1

    def take(self) -> dict[str, Any]:
        """Means since the last call; columns of the held-out images are empty."""
        if int(self.broken) >= 0:
            raise VitfaithError(
                f"DiffMask training diverged at step {int(self.broken)}: its loss or gradient is not finite; lower "
                "learning_rate and multiplier_learning_rate, or take precision: float32"
            )
        row: dict[str, Any] = {name: float(value) / self.count for name, value in self.sums.items()}
        self.sums, self.count = {}, 0
        return row | dict.fromkeys(("test_kl", "test_kept_share", "test_agreement"))

"""Training a ViT-Shapley head on a frozen trunk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vitfaith.artifacts.tensors import unit_pixels
from vitfaith.errors import ConfigError
from vitfaith.explainers.diffmask.files import digest_of
from vitfaith.explainers.diffmask.states import width_of
from vitfaith.explainers.passes.shared_pass import run_capture
from vitfaith.explainers.shapley.kernel import draw_sets, efficient
from vitfaith.explainers.shapley.network import Game, ShapleyHead, new_head
from vitfaith.explainers.shapley.recipe import ShapleyRecipe
from vitfaith.models.classifier import Classifier, freeze, frozen
from vitfaith.models.training.loop import fit
from vitfaith.models.training.resume import Checkpoint, key_of
from vitfaith.rng import generator
from vitfaith.transfer import upload

Images = NDArray[np.uint8]

_PART = 64
"""Held-out images that are looked at together."""


def train_shapley(
    classifier: Classifier,
    surrogate: Classifier,
    train: Images,
    test: Images,
    recipe: ShapleyRecipe,
    *,
    checkpoint: Path | None = None,
) -> tuple[ShapleyHead, list[dict[str, Any]]]:
    """Minimise E_S[(v(S) − v(∅) − Σ_{i∈S} φ_i)²] over sets S drawn by the Shapley kernel, for all classes at once.

    φ is the head's output made efficient, so that the minimum over all functions is the Shapley values of v.

    Args:
        classifier: the explained ViT, on the device to train on; its last tokens are what the head reads. It and the
            surrogate are left as they were.
        surrogate: its probabilities are v; it takes the same images and has the same classes.
        train: uint8 (N, C, H, W) of the classifier's size; no labels are needed.
        test: images for the log; at most ``recipe.held_out`` of them are used.
        recipe: see :class:`ShapleyRecipe`.
        checkpoint: file from which a killed training continues, to the same bits; remove it after saving the head.

    Returns:
        The head, frozen, and the log: a row per epoch with ``loss``, ``test_loss`` (mean squared error over held-out images, sets
        and classes) and ``test_explained``, 1 − that error over the error of equal shares.

    Raises:
        ConfigError: fewer images than a batch.
        InputError: the model has no sequence of transformer blocks over one patch grid.
        VitfaithError: the loss is not finite.
        ArtifactError: ``checkpoint`` is damaged.
    """
    if len(train) < recipe.batch_size:
        raise ConfigError(f"training: batch_size is {recipe.batch_size}, but there are {len(train)} images")
    images, held_out = torch.from_numpy(train), torch.from_numpy(test[: recipe.held_out])
    device, area = classifier.mean.device, classifier.patches
    game, patches = Game(surrogate, recipe.fill), classifier.grid[0] * classifier.grid[1]

    def errors(head: nn.Module, some: Tensor, key: str, step: int) -> tuple[Tensor, Tensor]:
        """Squared errors (B, n, K) of the head and of equal shares."""
        pixels = unit_pixels(upload(some, device))
        source = generator(recipe.seed, key, "shapley-sets", step)
        sets = upload(draw_sets(len(pixels), recipe.sets, patches, source), device)
        none, everything = game.ends(pixels, area)
        gains = game.of_sets(pixels, sets, area) - none[:, None]
        values = head(_tokens(classifier, pixels))
        members = sets.float()
        found = members @ efficient(values, everything - none)
        equal = members @ efficient(torch.zeros_like(values), everything - none)
        return (gains - found) ** 2, (gains - equal) ** 2

    @torch.no_grad()
    def evaluate(head: nn.Module) -> dict[str, float]:
        parts = [errors(head, part, "test", i) for i, part in enumerate(held_out.split(_PART))]
        own, equal = (torch.cat([part[i] for part in parts]).mean() for i in (0, 1))
        return {"test_loss": float(own), "test_explained": float(1 - own / equal)}

    with torch.inference_mode(False), torch.enable_grad(), frozen(classifier), frozen(surrogate):
        head = new_head(
            width_of(classifier),
            classifier.num_classes,
            recipe.hidden,
            generator=generator(recipe.seed, "shapley", "initialise"),
        ).to(device)
        facts = (
            recipe.model_dump(mode="json"),
            len(train),
            digest_of(classifier.backbone),
            digest_of(surrogate.backbone),
        )
        averaged, log = fit(
            head,
            lambda indices, step: errors(head, images[torch.from_numpy(indices)], "batch", step)[0].mean(),
            recipe,
            count=len(images),
            seed=recipe.seed,
            evaluate=evaluate,
            checkpoint=None if checkpoint is None else Checkpoint(checkpoint, key_of(*facts)),
        )
    assert isinstance(averaged, ShapleyHead)
    return freeze(averaged), log


def _tokens(classifier: Classifier, images: Tensor) -> Tensor:
    """Output of the last block for the patches of ``images``, (B, P, D), from the pass that explainers share."""
    with torch.no_grad():
        nothing = torch.zeros(len(images), dtype=torch.int64, device=images.device)
        capture = run_capture(classifier, images, nothing, frozenset({"hidden"}))
        return capture.patches(capture.depth)

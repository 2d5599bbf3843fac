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
    game = Game(surrogate, recipe.fill)

    def loss_of(indices: NDArray[np.int64], step: int) -> Tensor:
        drawn = generator(recipe.seed, "batch", "shapley-sets", step)
        return errors(classifier, game, head, images[torch.from_numpy(indices)], recipe.sets, drawn)[0].mean()

    def evaluate(head: nn.Module) -> dict[str, float]:
        own, equal = held_out_error(classifier, game, head, held_out, recipe)
        return {"test_loss": own, "test_explained": 1 - own / equal}

    with torch.inference_mode(False), torch.enable_grad(), frozen(classifier), frozen(surrogate):
        head = new_head(
            width_of(classifier),
            classifier.num_classes,
            recipe.hidden,
            generator=generator(recipe.seed, "shapley", "initialise"),
        ).to(classifier.mean.device)
        facts = (
            recipe.model_dump(mode="json"),
            len(train),
            digest_of(classifier.backbone),
            digest_of(surrogate.backbone),
        )
        averaged, log = fit(
            head,
            loss_of,
            recipe,
            count=len(images),
            seed=recipe.seed,
            evaluate=evaluate,
            checkpoint=None if checkpoint is None else Checkpoint(checkpoint, key_of(*facts)),
        )
    assert isinstance(averaged, ShapleyHead)
    return freeze(averaged), log


def errors(
    classifier: Classifier, game: Game, head: nn.Module, levels: Tensor, sets: int, source: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Squared errors (B, sets, K) of the head and of equal shares, over sets that ``source`` draws by the Shapley kernel.

    Args:
        classifier: the explained ViT, whose last tokens the head reads.
        game: v(S) of the surrogate.
        head: :class:`ShapleyHead`.
        levels: (B, C, H, W) grey levels 0 … 255, on any device.
        sets: number per image.
        source: draws the sets, on the CPU.
    """
    device, area = classifier.mean.device, classifier.patches
    pixels = unit_pixels(upload(levels, device))
    drawn = upload(draw_sets(len(pixels), sets, classifier.grid[0] * classifier.grid[1], source), device)
    none, everything = game.ends(pixels, area)
    gains = game.of_sets(pixels, drawn, area) - none[:, None]
    values = head(_tokens(classifier, pixels))
    members = drawn.float()
    found = members @ efficient(values, everything - none)
    equal = members @ efficient(torch.zeros_like(values), everything - none)
    return (gains - found) ** 2, (gains - equal) ** 2


@torch.no_grad()
def held_out_error(
    classifier: Classifier, game: Game, head: nn.Module, levels: Tensor, recipe: ShapleyRecipe
) -> tuple[float, float]:
    """Mean squared error over held-out images, sets and classes, of the head and of equal shares.

    Every epoch's test and every later call have the same sets. Arguments as in :func:`errors`; ``recipe`` has the seed and the number
    of sets.
    """
    parts = [
        errors(classifier, game, head, part, recipe.sets, generator(recipe.seed, "test", "shapley-sets", i))
        for i, part in enumerate(levels.split(_PART))
    ]
    own, equal = (torch.cat([part[i] for part in parts]).mean() for i in (0, 1))
    return float(own), float(equal)


def _tokens(classifier: Classifier, images: Tensor) -> Tensor:
    """Output of the last block for the patches of ``images``, (B, P, D), from the pass that explainers share."""
    with torch.no_grad():
        nothing = torch.zeros(len(images), dtype=torch.int64, device=images.device)
        capture = run_capture(classifier, images, nothing, frozenset({"hidden"}))
        return capture.patches(capture.depth)

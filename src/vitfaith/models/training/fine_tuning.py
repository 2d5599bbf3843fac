"""Fine-tuning: weights to start from, and which parameters learn how fast."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from torch import nn

from vitfaith.errors import ConfigError
from vitfaith.models.checkpoint import Checkpoint, read_checkpoint
from vitfaith.models.classifier import Classifier
from vitfaith.models.load import fit_checkpoint
from vitfaith.models.training.recipe import ClassifierRecipe


def _head(backbone: nn.Module) -> str:
    return str(backbone.pretrained_cfg["classifier"]) + "."  # type: ignore[index]


def take_over(backbone: nn.Module, weights: Path, *, keep_head: bool = False) -> tuple[list[float], list[float]]:
    """Give a timm model the weights of a file, the head's only with ``keep_head``; position tables of other sizes are resized.

    Returns:
        Channel means and standard deviations in [0, 1] pixel units: those stored with the weights, else timm's for the
        architecture.

    Raises:
        ArtifactError: the file is missing, broken, or of another architecture; with ``keep_head``, or of other classes.
    """
    head, own = _head(backbone), backbone.state_dict()
    checkpoint = read_checkpoint(weights)
    found = {k: v for k, v in checkpoint.state.items() if keep_head or not k.startswith(head)}
    new = {} if keep_head else {k: v for k, v in own.items() if k.startswith(head)}
    fit_checkpoint(backbone, Checkpoint(found | new, {}), weights)
    told = {**backbone.pretrained_cfg, **checkpoint.description}  # type: ignore[dict-item]
    return list(told["mean"]), list(told["std"])


def rates(classifier: Classifier, recipe: ClassifierRecipe) -> Callable[[str], float]:
    """Factor on the learning rate by the name of a classifier's parameter, 0 for parameters that keep their value.

    Raises:
        ConfigError: ``trained_blocks`` for an architecture without blocks, or more than it has.
    """
    if recipe.start_from is None:
        return lambda name: 1.0
    head = f"backbone.{_head(classifier.backbone)}"
    slow = (recipe.start_learning_rate or recipe.learning_rate) / recipe.learning_rate
    if recipe.trained_blocks is None:
        return lambda name: 1.0 if name.startswith(head) else slow
    blocks = getattr(classifier.backbone, "blocks", ())
    if recipe.trained_blocks > len(blocks):
        raise ConfigError(f"training: trained_blocks is {recipe.trained_blocks}, the model has {len(blocks)} blocks")
    trained = [f"backbone.blocks.{i}." for i in range(len(blocks) - recipe.trained_blocks, len(blocks))]
    slowly = (*trained, "backbone.norm.", "backbone.fc_norm.")
    return lambda name: 1.0 if name.startswith(head) else slow if name.startswith(slowly) else 0.0

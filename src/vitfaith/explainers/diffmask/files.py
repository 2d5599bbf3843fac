"""DiffMasks as safetensors files that say which model they belong to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vitfaith.artifacts.weights import write_weights
from vitfaith.errors import ArtifactError
from vitfaith.explainers.diffmask.gates import Gates
from vitfaith.explainers.diffmask.hard_concrete import HardConcrete
from vitfaith.explainers.diffmask.network import DiffMask, misfit
from vitfaith.models.checkpoint import Checkpoint, fit_weights, read_checkpoint
from vitfaith.models.classifier import Classifier, freeze

KIND = "diffmask"
_HINT = "train it again with `snakemake train`, or give the right file"
_KEYS = {"gates", "width", "hidden", "classes", "stretch", "temperature", "low", "high", "model"}


def digest_of(backbone: nn.Module) -> str:
    """Sixteen hexadecimal digits of a network's weights, the same on every device and in every precision that holds them."""
    digest = hashlib.blake2b(digest_size=8)
    for name, value in sorted(backbone.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().float().contiguous().numpy().tobytes())
    return digest.hexdigest()


def save_diffmask(network: DiffMask, path: Path, classifier: Classifier, facts: Mapping[str, Any]) -> None:
    """Write ``network``; ``facts`` (JSON) go into the metadata beside its shape and the digest of the model's weights."""
    gates, shape = network.gates, network.distribution
    description = {
        **facts,
        "kind": KIND,
        "gates": gates.count,
        "width": len(network.placeholder),
        "hidden": gates.offsets.shape[1],
        "classes": 0 if gates.classes is None else len(gates.classes),
        "stretch": gates.stretch,
        "temperature": shape.temperature,
        "low": shape.low,
        "high": shape.high,
        "model": digest_of(classifier.backbone),
    }
    write_weights(network.state_dict(), path, {"vitfaith": json.dumps(description, sort_keys=True)})


def load_diffmask(path: Path, classifier: Classifier, *, class_specific: bool | None = None) -> DiffMask:
    """The frozen DiffMask in ``path``, on the device of ``classifier``.

    Args:
        class_specific: whether it must explain classes, or must not; None takes either.

    Raises:
        ArtifactError: the file is missing, damaged, no DiffMask, made for a model of another shape, or of the other kind.
    """
    checkpoint = _read(path)
    description = checkpoint.description
    problem = misfit(description, classifier)
    if problem:
        raise ArtifactError(f"DiffMask '{path}' {problem}; it belongs to another model: {_HINT}")
    if class_specific is not None and bool(description["classes"]) != class_specific:
        is_, wanted = ("of a class", "diffmask_class") if description["classes"] else ("of no class", "diffmask")
        raise ArtifactError(f"DiffMask '{path}' gives masks {is_}; use it with the explainer {wanted}")
    return _build(path, checkpoint, classifier.mean.device)


def _build(path: Path, checkpoint: Checkpoint, device: torch.device | str) -> DiffMask:
    found = checkpoint.description
    gates = Gates(found["gates"], found["width"], found["hidden"], stretch=found["stretch"], classes=found["classes"])
    distribution = HardConcrete(found["temperature"], found["low"], found["high"])
    network = DiffMask(gates, torch.zeros(found["width"]), distribution)
    fit_weights(network, checkpoint.state, path, _HINT)
    return freeze(network.to(device))


def check_trained_for(path: Path, classifier: Classifier) -> None:
    """Raise :class:`ArtifactError` where the DiffMask in ``path`` was trained for other weights of the same model."""
    if _read(path).description["model"] != digest_of(classifier.backbone):
        raise ArtifactError(
            f"DiffMask '{path}' was trained for other weights than the model has, so its masks say nothing about them; {_HINT}"
        )


def _read(path: Path) -> Checkpoint:
    if not path.is_file():
        raise ArtifactError(
            f"DiffMask '{path}' does not exist; train it (`weights: trained` with a recipe under `training`), or give a "
            "folder with one MODEL.safetensors per model"
        )
    facts = path.stat()
    return _cached(path, facts.st_size, facts.st_mtime_ns)


@lru_cache(maxsize=8)
def _cached(path: Path, size: int, modified: int) -> Checkpoint:
    """What ``path`` holds; read once, as every batch asks."""
    if path.suffix != ".safetensors":
        raise ArtifactError(f"DiffMask '{path}' is no safetensors file; {_HINT}")
    checkpoint = read_checkpoint(path)
    if checkpoint.description.get("kind") != KIND or not checkpoint.description.keys() >= _KEYS:
        raise ArtifactError(f"'{path}' holds no DiffMask; {_HINT}")
    return checkpoint

"""From a model's specification to a frozen classifier on a device."""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from vitfaith.errors import ArtifactError, ConfigError
from vitfaith.models.checkpoint import Checkpoint, fit_weights, misfit, read_checkpoint
from vitfaith.models.class_names import class_names
from vitfaith.models.classifier import Classifier, build_backbone, freeze
from vitfaith.models.huggingface.folder import read_folder
from vitfaith.models.shapes import without_numbers
from vitfaith.once import once

_LOG = logging.getLogger(__name__)
_HINT = "give the architecture and arguments that the weights were trained with"


def load_classifier(
    spec: Mapping[str, Any], weights: Path | None, device: str = "cpu", *, shapes_only: bool = False
) -> Classifier:
    """Build the model of a configuration's ``models`` entry.

    Weights in timm's own layout are loaded strictly. Where they do not fit, the architecture's own conversion in timm
    is tried, which understands the original checkpoints of DeiT, DINOv2, CLIP and others, and resizes the position
    table to ``img_size``.

    Args:
        spec: keys ``timm`` (None for a folder), ``arguments`` and optionally ``mean``, ``std`` (in [0, 1] pixel units;
            else those stored with the weights, else timm's for the architecture) and ``patch`` (height and width of the
            cells of maps, for a model without patches).
        weights: safetensors or torch file, folder of the Hugging Face hub (see :mod:`vitfaith.models.huggingface.folder`), or
            None to take timm's pretrained weights.
        device: torch device name.
        shapes_only: check that everything fits, from the files' headers; the model has no weights.

    Raises:
        ConfigError: the architecture or its arguments are wrong, or mean and std have other channels than the model.
        ArtifactError: the weights are missing or do not fit.
        InputError: the model gives no logits of an image.
    """
    if weights is not None and weights.is_dir():
        backbone, stored = _from_folder(spec, weights, shapes_only)
    else:
        backbone, stored = _from_timm(spec, weights, shapes_only)
    mean, std = (spec.get(key) or stored.get(key) for key in ("mean", "std"))
    origin = "the study" if spec.get("mean") else stored["normalisation_from"]
    if mean is None or std is None:
        raise ConfigError(f"models: '{weights}' does not say how images are normalised; set mean and std")
    classifier = Classifier(backbone, mean, std, stored["class_names"], origin, side_of(spec.get("patch")))
    channels = int(getattr(backbone, "in_chans", spec["arguments"].get("in_chans", 3)))
    if not all(map(math.isfinite, (*mean, *std))) or min(std) <= 0:
        raise ConfigError(
            f"models: the normalisation stored with '{weights}' is mean {mean}, std {std}; set mean and std"
        )
    if not len(mean) == len(std) == channels:
        raise ConfigError(
            f"models: the normalisation has {len(mean)} channels, the model takes {channels}; set mean and std"
        )
    classifier.check_head()
    return freeze(classifier) if shapes_only else freeze(classifier).to(device)


def job_classifier(spec: Mapping[str, Any], weights: Path | None, device: str) -> Classifier:
    """As :func:`load_classifier`; within a job all its parts share one, which stays as it is."""
    return once(lambda: load_classifier(spec, weights, device), "classifier", spec, weights, device)


def side_of(patch: int | Sequence[int] | None) -> tuple[int, int] | None:
    """Height and width of cells, from one number for both or two."""
    if patch is None:
        return None
    height, width = (patch, patch) if isinstance(patch, int) else patch
    return int(height), int(width)


def _from_timm(spec: Mapping[str, Any], weights: Path | None, shapes_only: bool) -> tuple[nn.Module, dict[str, Any]]:
    if spec["timm"] is None:
        raise ArtifactError(
            f"models: '{weights}' is no folder with a config.json; name the timm architecture of the file"
        )
    with without_numbers(shapes_only):
        backbone = build_backbone(spec["timm"], spec["arguments"], pretrained=weights is None and not shapes_only)
    stored: dict[str, Any] = dict(backbone.pretrained_cfg)  # type: ignore[arg-type]
    if weights is None:
        _check_head(spec["timm"], int(backbone.num_classes), stored)  # type: ignore[arg-type]
    else:
        checkpoint = read_checkpoint(weights, shapes_only=shapes_only)
        fit_checkpoint(backbone, checkpoint, weights, shapes_only)
        stored |= checkpoint.description
    told = weights is None or {"mean", "std"} <= set(checkpoint.description)
    stored["normalisation_from"] = "the weights" if told else f"timm's defaults for {spec['timm']}"
    named = stored | ({"num_classes": None} if weights is not None else {})
    return backbone, stored | {"class_names": class_names(named, int(backbone.num_classes))}  # type: ignore[arg-type]


def _check_head(name: str, classes: int, stored: Mapping[str, Any]) -> None:
    """Refuse a head that timm would fill with random numbers."""
    if not stored.get("num_classes"):
        raise ConfigError(
            f"models: the pretrained '{name}' has no classification head; give weights with one, for example the hub's "
            "folder of a DINOv2 classifier"
        )
    if stored["num_classes"] != classes:
        raise ConfigError(
            f"models: the pretrained head of '{name}' has {stored['num_classes']} classes, num_classes asks for {classes}, "
            "which would be random; remove num_classes, or give weights that were trained on these classes"
        )


def _from_folder(spec: Mapping[str, Any], folder: Path, shapes_only: bool) -> tuple[nn.Module, dict[str, Any]]:
    if spec["timm"] is not None:
        raise ConfigError(f"models: '{folder}' defines its own architecture; remove timm: {spec['timm']}")
    found = read_folder(folder, spec["arguments"])
    with without_numbers(shapes_only):
        backbone = found.build()
    state = found.convert(read_checkpoint(found.weights, shapes_only=shapes_only).state, backbone)
    fit_weights(backbone, state, found.weights, _HINT, assign=shapes_only)
    return backbone, {
        "mean": found.mean,
        "std": found.std,
        "class_names": found.class_names,
        "normalisation_from": "the weights",
    }


def fit_checkpoint(backbone: nn.Module, checkpoint: Checkpoint, weights: Path, shapes_only: bool = False) -> None:
    """Load a checkpoint into a timm model, as it is or by timm's conversion for the architecture.

    Args:
        backbone: a timm model; on the device ``meta`` with ``shapes_only``.
        checkpoint: what the file ``weights`` holds.
        weights: named in the error.
        shapes_only: compare names and shapes alone.

    Raises:
        ArtifactError: neither fits.
    """
    state = checkpoint.state
    convert = getattr(sys.modules[type(backbone).__module__], "checkpoint_filter_fn", None)
    if convert is not None and not checkpoint.description and misfit(backbone.state_dict(), state):
        try:
            converted = convert(dict(state), backbone)
        except Exception as error:  # it assumes a published checkpoint; the strict report says more
            _LOG.debug("timm's conversion of '%s' failed: %s", weights, error)
        else:
            if misfit(backbone.state_dict(), converted) is None:
                _LOG.info("'%s' does not fit as it is; timm's conversion for %s does", weights, type(backbone).__name__)
                state = converted
    fit_weights(backbone, state, weights, _HINT, assign=shapes_only)

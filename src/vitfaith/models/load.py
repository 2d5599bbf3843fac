"""From a model's specification to a frozen classifier on a device."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vitfaith.errors import ConfigError
from vitfaith.models.classifier import Classifier, build_backbone, freeze, load_weights


def load_classifier(spec: Mapping[str, Any], weights: Path | None, device: str = "cpu") -> Classifier:
    """Build the model of a configuration's ``models`` entry.

    Args:
        spec: keys ``timm``, ``arguments`` and optionally ``mean``, ``std`` (in [0, 1] pixel units; else those stored
            with the weights, else timm's for the architecture).
        weights: safetensors file, or None to take timm's pretrained weights.
        device: torch device name.

    Raises:
        ConfigError: the number of channels of mean and std is not the model's.
        ArtifactError: the weights are missing or do not fit.
    """
    backbone = build_backbone(spec["timm"], spec["arguments"], pretrained=weights is None)
    stored: Mapping[str, Any] = backbone.pretrained_cfg  # type: ignore[assignment]
    if weights is not None:
        stored = {**stored, **load_weights(backbone, weights)}
    mean, std = (spec.get(key) or stored[key] for key in ("mean", "std"))
    channels = int(spec["arguments"].get("in_chans", 3))
    if len(mean) != channels:
        raise ConfigError(
            f"models: the normalisation has {len(mean)} channels, the model takes {channels}; set mean and std"
        )
    return freeze(Classifier(backbone, mean, std)).to(device)

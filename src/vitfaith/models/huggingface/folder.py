"""Model folders of the Hugging Face hub as timm models: classifiers of transformers, and timm's own.

``config.json`` describes the network, the file of weights holds its tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from vitfaith.artifacts.json_file import read_json_object
from vitfaith.errors import ArtifactError, ConfigError
from vitfaith.models.classifier import build_backbone
from vitfaith.models.huggingface.common import Conversion
from vitfaith.models.huggingface.kinds import INSTEAD, KINDS


@dataclass(frozen=True)
class Folder:
    """A model folder, understood.

    Attributes:
        weights: file with the tensors.
        build: makes the timm model without its weights.
        convert: gives the file's tensors timm's names and shapes, for the model that was built.
        mean, std: of the preprocessing, in [0, 1] pixel units; None if the folder has none.
        class_names: in the order of the labels; empty if the folder has none.
    """

    weights: Path
    build: Callable[[], nn.Module]
    convert: Callable[[Mapping[str, Tensor], nn.Module], dict[str, Tensor]]
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    class_names: tuple[str, ...]


def read_folder(folder: Path, arguments: Mapping[str, Any]) -> Folder:
    """Understand ``folder``: ``config.json``, weights, and the image processor of transformers.

    Args:
        arguments: arguments of timm's constructor, which override the folder's; ``img_size`` resizes the position table
            as transformers does.

    Raises:
        ArtifactError: a file is missing or cannot be read; the text names it.
        ConfigError: the folder holds another kind of model; the text says which ones are converted.
    """
    config = read_json_object(folder / "config.json", "models")
    weights = next((folder / n for n in ("model.safetensors", "pytorch_model.bin") if (folder / n).is_file()), None)
    if weights is None:
        raise ArtifactError(f"models: '{folder}' has no model.safetensors; save the model in one file")
    if "architecture" in config:
        return _timm_folder(config, weights, arguments)
    kind = next(iter(config.get("architectures") or ["model without a head"]), "")
    if kind not in KINDS:
        instead = INSTEAD.get(kind, f"converted are {', '.join(KINDS)}; for others name a timm model")
        raise ConfigError(f"models: '{folder}' holds a {kind}; {instead}")
    conversion = KINDS[kind]
    mean, std = _normalisation(folder)
    names = {int(k): str(v) for k, v in (config.get("id2label") or {}).items()}
    return Folder(
        weights=weights,
        build=lambda: _build(conversion, config, arguments, folder),
        convert=lambda state, backbone: conversion.convert(state, backbone, config),
        mean=mean,
        std=std,
        class_names=tuple(names[k] for k in sorted(names)),
    )


def _build(conversion: Conversion, config: Mapping[str, Any], arguments: Mapping[str, Any], folder: Path) -> nn.Module:
    try:
        return conversion.build(config, arguments)
    except (TypeError, ValueError, AssertionError) as error:
        raise ConfigError(f"models: '{folder}/config.json' with these arguments gives no model: {error}") from error


def _timm_folder(config: Mapping[str, Any], weights: Path, arguments: Mapping[str, Any]) -> Folder:
    """A folder that timm wrote (``timm.models.save_for_hf``), or that its models on the hub are."""
    stored = config.get("pretrained_cfg") or config
    given = {"num_classes": config.get("num_classes", stored.get("num_classes", 1000)), **config.get("model_args", {})}
    names = config.get("label_names") or stored.get("label_names") or ()
    return Folder(
        weights=weights,
        build=lambda: build_backbone(str(config["architecture"]), {**given, **arguments}),
        convert=lambda state, backbone: dict(state),
        mean=_floats(stored.get("mean")),
        std=_floats(stored.get("std")),
        class_names=tuple(map(str, names)),
    )


def _normalisation(folder: Path) -> tuple[tuple[float, ...] | None, tuple[float, ...] | None]:
    """Mean and std of the image processor, which transformers 5 may write into the file of a processor with more parts."""
    files = [folder / name for name in ("preprocessor_config.json", "processor_config.json")]
    file = next((file for file in files if file.is_file()), None)
    if file is None:
        return None, None
    content = read_json_object(file, "models")
    content = content.get("image_processor") or content
    mean, std = _floats(content.get("image_mean")), _floats(content.get("image_std"))
    if content.get("do_normalize") is False:
        channels = len(mean or (0, 0, 0))
        return (0.0,) * channels, (1.0,) * channels
    return mean, std


def _floats(values: Any) -> tuple[float, ...] | None:
    return None if values is None else tuple(map(float, values))

"""A timm model that takes images in [0, 1], normalises inside, and knows its patch grid and prefix tokens."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vitfaith.errors import ArtifactError, ConfigError, InputError, did_you_mean
from vitfaith.startup import without_compiler

with without_compiler():
    import timm


class Classifier(nn.Module):
    """Logits of ``backbone`` for images in [0, 1].

    Keeping the normalisation inside means that attacks, fills and denoisers all work in pixel units.

    Args:
        backbone: a timm model that maps (B, C, H, W) normalised images to (B, K) logits.
        mean, std: channel statistics, in [0, 1] pixel units.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, backbone: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.backbone = backbone
        self.register_buffer("mean", torch.tensor(list(mean), dtype=torch.float32).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(list(std), dtype=torch.float32).view(1, -1, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, K) for ``images`` (B, C, H, W) float in [0, 1]."""
        return self.backbone((images - self.mean) / self.std)

    @property
    def num_classes(self) -> int:
        """Number of classes K."""
        return int(self.backbone.num_classes)  # type: ignore[arg-type]

    @property
    def prefix_tokens(self) -> int:
        """Tokens before the patches (class, registers, distillation): 0 for models pooled over patches alone."""
        return int(getattr(self.backbone, "num_prefix_tokens", 0))

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the patch grid; raises :class:`InputError` for models without patch embedding."""
        patch_embed = getattr(self.backbone, "patch_embed", None)
        size = getattr(patch_embed, "grid_size", None)
        if size is None:
            raise InputError(
                f"model {type(self.backbone).__name__} has no patch grid; attention-type explainers need a ViT"
            )
        return int(size[0]), int(size[1])

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of the images that the model takes."""
        patch_embed = getattr(self.backbone, "patch_embed", None)
        size = getattr(patch_embed, "img_size", None)
        if size is None:
            _, height, width = self.backbone.pretrained_cfg["input_size"]  # type: ignore[index]
        else:
            height, width = size
        return int(self.mean.shape[1]), int(height), int(width)

    def check_images(self, images: Tensor) -> None:
        """Raise :class:`InputError` unless ``images`` is (B, C, H, W) of this model's size, finite, in [0, 1]."""
        if images.ndim != 4 or tuple(images.shape[1:]) != self.input_shape:
            raise InputError(
                f"images of shape {tuple(images.shape)} do not fit the model, which takes (B, {', '.join(map(str, self.input_shape))}); "
                "set the dataset's preprocessing to that size"
            )
        if not bool(torch.isfinite(images).all()):
            raise InputError("images contain NaN or infinite values")
        low, high = float(images.min()), float(images.max())
        if low < -1e-6 or high > 1 + 1e-6:
            raise InputError(
                f"images lie in [{low:.3g}, {high:.3g}], not in [0, 1]; normalisation belongs to the model"
            )


def build_backbone(name: str, arguments: Mapping[str, Any], *, pretrained: bool = False) -> nn.Module:
    """Create the timm model ``name``; an unknown name or argument raises :class:`ConfigError` with a suggestion."""
    if not timm.is_model(name):
        raise ConfigError(f"timm has no model '{name}'{did_you_mean(name, timm.list_models())}")
    try:
        return timm.create_model(name, pretrained=pretrained, **dict(arguments))
    except TypeError as error:
        raise ConfigError(f"model '{name}' does not take these arguments: {error}") from error


def save_classifier(classifier: Classifier, path: Path, description: Mapping[str, Any]) -> None:
    """Write the backbone's weights as safetensors; ``description`` (JSON) goes into the file's metadata."""
    state = {k: v.detach().cpu().contiguous() for k, v in classifier.backbone.state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(state, str(path), metadata={"vitfaith": json.dumps(description, sort_keys=True)})


def load_weights(backbone: nn.Module, path: Path) -> dict[str, Any]:
    """Load safetensors weights strictly into ``backbone``; returns the description stored with them.

    Raises:
        ArtifactError: the file is missing, is no safetensors file, or its tensors do not fit; the text says which.
    """
    try:
        with safe_open(str(path), framework="pt") as handle:
            description = json.loads((handle.metadata() or {}).get("vitfaith", "{}"))
        state = load_file(str(path))
    except (OSError, SafetensorError) as error:
        raise ArtifactError(f"weights '{path}' cannot be read: {error}") from error
    try:
        backbone.load_state_dict(state, strict=True)
    except RuntimeError as error:
        raise ArtifactError(f"weights '{path}' do not fit the model: {error}") from error
    return dict(description)


def freeze(classifier: Classifier) -> Classifier:
    """Evaluation mode and no parameter gradients: a backward pass then computes activation gradients only."""
    classifier.eval()
    for parameter in classifier.parameters():
        parameter.requires_grad_(False)
    return classifier

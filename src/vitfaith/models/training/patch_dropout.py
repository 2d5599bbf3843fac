"""Patch dropout: a ViT learns from some of an image's patches, which takes less time."""

from __future__ import annotations

from timm.layers.patch_dropout import PatchDropout
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from vitfaith.errors import ConfigError


def start_dropping(backbone: nn.Module, share: float) -> PatchDropout | None:
    """Make ``backbone`` lose ``share`` of each image's patch tokens in training mode, others in each step.

    Tokens of class and registers stay. The draws are torch's. With share 0 nothing changes.

    Returns:
        The layer that drops patches, whose ``prob`` may be changed; None with share 0.

    Raises:
        ConfigError: the network is not a timm ViT, or drops patches by its own arguments.

    Source: Liu et al., PatchDropout, arXiv 2208.07220.
    """
    if share == 0:
        return None
    if not isinstance(backbone, VisionTransformer) or not isinstance(backbone.patch_drop, nn.Identity):
        raise ConfigError(
            f"training: patch_dropout needs a timm VisionTransformer without patch_drop_rate; this is a {type(backbone).__name__}; "
            "leave patch_dropout out"
        )
    layer = PatchDropout(share, num_prefix_tokens=backbone.num_prefix_tokens)
    backbone.add_module("patch_drop", layer)  # timm declares it as the layer that the network was built with
    return layer


def stop_dropping(backbone: nn.Module) -> None:
    """Undo :func:`start_dropping`, in the network or in a copy of it."""
    assert isinstance(backbone, VisionTransformer)
    backbone.add_module("patch_drop", nn.Identity())

"""The image towers of CLIP, SigLIP and SigLIP 2 with a linear head on the mean of their patch tokens."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from torch import Tensor, nn

from vitfaith.models.fast.compiler import without_compiler
from vitfaith.models.huggingface.common import (
    UNREAD,
    Conversion,
    activation,
    constructor,
    grid_in,
    grid_of,
    num_classes,
    placed,
    renamed,
)

with without_compiler():
    from timm.models.vision_transformer import VisionTransformer

_NAMES = (
    (r"^classifier\.", "head."),
    (r"^vision_model\.", ""),
    (r"^embeddings\.patch_embedding\.", "patch_embed.proj."),
    (r"^embeddings\.position_embedding\.weight$", "pos_embed"),
    (r"^embeddings\.class_embedding$", "cls_token"),
    (r"^pre_layrnorm\.", "norm_pre."),
    (r"^post_layernorm\.", "norm."),
    (r"^encoder\.layers\.", "blocks."),
    (r"\.self_attn\.out_proj\.", ".attn.proj."),
    (r"\.self_attn\.q_proj\.", ".attn.query."),
    (r"\.self_attn\.k_proj\.", ".attn.key."),
    (r"\.self_attn\.v_proj\.", ".attn.value."),
    (r"\.layer_norm([12])\.", r".norm\1."),
)
_PATCHES = "patch_embed.proj.weight"


@dataclass(frozen=True)
class _Tower:
    """A family, in which transformers' defaults differ.

    Attributes:
        patch, act, eps: defaults of the configuration.
        unread: tensors of the tower that its classifier does not read.
        arguments: of timm's ``VisionTransformer``; the mean is taken after the last norm, or without one.
        resize: how the position table is resized.
    """

    patch: int
    act: str
    eps: float
    unread: str
    arguments: Mapping[str, Any]
    resize: Mapping[str, Any] = field(default_factory=dict)

    def size(self, vision: Mapping[str, Any]) -> Any:
        """Height and width of the images; SigLIP 2, which takes any size, has positions for a square."""
        if self.resize:
            side = math.isqrt(int(vision.get("num_patches", 256)))
            return side * int(vision.get("patch_size", self.patch))
        return vision.get("image_size", 224)


def _vision(config: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of the tower; old files of CLIP have them twice, the second ones count."""
    return {**(config.get("vision_config") or {}), **(config.get("vision_config_dict") or {})}


def _build(config: Mapping[str, Any], arguments: Mapping[str, Any], *, tower: _Tower) -> nn.Module:
    vision = _vision(config)
    found = constructor(vision, num_classes(config), patch=tower.patch, eps=tower.eps)
    found |= {
        "img_size": tower.size(vision),
        "act_layer": activation(vision, tower.act),
        "global_pool": "avg",
        "fc_norm": False,
    }
    return VisionTransformer(**{**found, **tower.arguments, **arguments})


def _convert(
    state: Mapping[str, Tensor], backbone: nn.Module, config: Mapping[str, Any], *, tower: _Tower
) -> dict[str, Tensor]:
    found, vision = renamed(state, _NAMES, f"{UNREAD}|{tower.unread}"), _vision(config)
    if "cls_token" in found:
        found["cls_token"] = found["cls_token"].reshape(1, 1, -1)
    if "pos_embed" in found:
        stored = grid_of(tower.size(vision), vision.get("patch_size", tower.patch))
        prefix = int(backbone.num_prefix_tokens)  # type: ignore[arg-type]
        found["pos_embed"] = placed(found["pos_embed"][None], stored, grid_in(backbone), prefix, **tower.resize)
    weight = found.get(_PATCHES)
    if weight is not None and weight.ndim == 2:  # of SigLIP 2, whose patches come as rows of pixels
        width, channels, rows, columns = backbone.state_dict()[_PATCHES].shape
        if weight.shape == (width, channels * rows * columns):
            found[_PATCHES] = weight.reshape(width, rows, columns, channels).permute(0, 3, 1, 2)
    return found


def _conversion(tower: _Tower) -> Conversion:
    return Conversion(partial(_build, tower=tower), partial(_convert, tower=tower))


_NO_CLASS_TOKEN = {"class_token": False}
CLIP = _conversion(
    _Tower(32, "quick_gelu", 1e-5, r"^vision_model\.post_layernorm\.", {"pre_norm": True, "final_norm": False})
)
SIGLIP = _conversion(_Tower(16, "gelu_pytorch_tanh", 1e-6, r"^vision_model\.head\.", _NO_CLASS_TOKEN))
SIGLIP2 = _conversion(
    _Tower(
        16,
        "gelu_pytorch_tanh",
        1e-6,
        r"^vision_model\.head\.",
        _NO_CLASS_TOKEN,
        {"mode": "bilinear", "antialias": True},
    )
)

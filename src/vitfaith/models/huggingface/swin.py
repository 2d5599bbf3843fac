"""Swin and Swin v2, at sizes where timm and transformers cut the same windows."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from torch import Tensor, nn

from vitfaith.errors import ConfigError
from vitfaith.models.fast.compiler import without_compiler
from vitfaith.models.huggingface.common import (
    NAMES,
    SEPARATE_BIAS,
    Conversion,
    Shape,
    num_classes,
    pair,
    renamed,
    set_activation,
)

with without_compiler():
    from timm.models.swin_transformer import SwinTransformer
    from timm.models.swin_transformer_v2 import SwinTransformerV2

_NAMES = (
    (r"^swin(v2)?\.", ""),
    (r"^classifier\.", "head.fc."),
    (r"^embeddings\.norm\.", "patch_embed.norm."),
    (r"^encoder\.", ""),
    *NAMES,
    (r"\.continuous_position_bias_mlp\.", ".cpb_mlp."),
)
_EPS = 1e-5
"""Of the norms after the patch embedding and at a merging of patches, whatever the configuration says."""


def _build(config: Mapping[str, Any], arguments: Mapping[str, Any], *, second: bool) -> nn.Module:
    if config.get("use_absolute_embeddings"):
        raise ConfigError("models: Swin with use_absolute_embeddings has no counterpart in timm; name a timm model")
    depths = tuple(config.get("depths", (2, 2, 6, 2)))
    found: dict[str, Any] = {
        "img_size": config.get("image_size", 224),
        "patch_size": config.get("patch_size", 4),
        "in_chans": int(config.get("num_channels", 3)),
        "num_classes": num_classes(config),
        "embed_dim": int(config.get("embed_dim", 96)),
        "depths": depths,
        "num_heads": tuple(config.get("num_heads", (3, 6, 12, 24))),
        "window_size": int(config.get("window_size", 7)),
        "mlp_ratio": float(config.get("mlp_ratio", 4.0)),
        "qkv_bias": bool(config.get("qkv_bias", True)),
        "drop_path_rate": 0.0,
        "norm_layer": partial(nn.LayerNorm, eps=float(config.get("layer_norm_eps", 1e-5))),
    }
    if second:
        found["pretrained_window_sizes"] = tuple(config.get("pretrained_window_sizes") or [0] * len(depths))
    found |= arguments
    _check_windows(found, pair(config.get("image_size", 224)) if second else None)
    backbone: Any = (SwinTransformerV2 if second else SwinTransformer)(**found)
    set_activation(backbone, config)
    backbone.patch_embed.norm.eps = _EPS
    for stage in backbone.layers:
        if isinstance(getattr(stage.downsample, "norm", None), nn.LayerNorm):
            stage.downsample.norm.eps = _EPS
        for block in stage.blocks:
            if second and block.attn_mask is not None:
                block.attn_mask = 2 * block.attn_mask  # transformers adds it twice
    return backbone


def _check_windows(arguments: Mapping[str, Any], first: Shape | None) -> None:
    """Raise :class:`ConfigError` where transformers shifts, pads or cuts other windows than timm.

    Both reduce a window to a small grid: timm for each side of the image, transformers for both sides alike, and in Swin v2
    by the size ``first`` of the configuration's images. Before a shift transformers pads, timm pads after it.
    """
    size, patch, window = pair(arguments["img_size"]), pair(arguments["patch_size"]), arguments["window_size"]
    grid = (-(-size[0] // patch[0]), -(-size[1] // patch[1]))
    told = grid if first is None else (first[0] // patch[0], first[1] // patch[1])
    same = size == (grid[0] * patch[0], grid[1] * patch[1])
    for depth in arguments["depths"]:
        side = min(told) if first is None else told[0]
        theirs = (min(side, window),) * 2, (side > window and depth > 1,) * 2
        ours = tuple(min(n, window) for n in grid), tuple(n > window and depth > 1 for n in grid)
        pads = any(n % min(n, window) for n in grid)
        same = same and theirs == ours and not (pads and any(ours[1])) and (first is not None or side >= window)
        grid = ((grid[0] + 1) // 2, (grid[1] + 1) // 2)
        told = grid if first is None else (told[0] // 2, told[1] // 2)
    if not same:
        wanted = f"use a square size that {patch[0] * window * 2 ** (len(arguments['depths']) - 1)} divides"
        if first is not None:
            wanted = (
                "name a timm model" if size == first else f"leave img_size out, which is {first[0]}×{first[1]} then"
            )
        raise ConfigError(
            f"models: Swin with windows of {window} patches is not the same in timm and transformers on images of "
            f"{size[0]}×{size[1]} pixels; {wanted}"
        )


def _convert(
    state: Mapping[str, Tensor], backbone: nn.Module, config: Mapping[str, Any], *, second: bool
) -> dict[str, Tensor]:
    found = renamed(state, (*_NAMES, *SEPARATE_BIAS) if second else _NAMES)
    # patches are merged at the end of a stage in transformers, at the start of the next one in timm
    last = len(config.get("depths", (2, 2, 6, 2)))
    for stage in reversed(range(last)):
        for name in [n for n in found if n.startswith(f"layers.{stage}.downsample.")]:
            found[name.replace(str(stage), str(stage + 1), 1)] = found.pop(name)
    return found


SWIN = Conversion(partial(_build, second=False), partial(_convert, second=False))
SWINV2 = Conversion(partial(_build, second=True), partial(_convert, second=True))

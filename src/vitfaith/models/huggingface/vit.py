"""ViT, DeiT and DINOv2 (also with registers)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from torch import Tensor, nn

from vitfaith.models.fast.compiler import without_compiler
from vitfaith.models.huggingface.common import (
    NAMES,
    Conversion,
    activation,
    constructor,
    grid_in,
    grid_of,
    num_classes,
    placed,
    renamed,
)
from vitfaith.models.pair_pooled import PairPooledViT

with without_compiler():
    from timm.layers.mlp import GluMlp
    from timm.models.deit import VisionTransformerDistilled
    from timm.models.vision_transformer import VisionTransformer

_NAMES = (
    (r"^(vit|deit|dinov2|dinov2_with_registers)\.", ""),
    (r"^(cls_)?classifier\.", "head."),
    (r"^distillation_classifier\.", "head_dist."),
    *NAMES,
    (r"\.mlp\.weights_in\.", ".mlp.fc1."),
    (r"\.mlp\.weights_out\.", ".mlp.fc2."),
    (r"\.layer_scale([12])\.lambda1$", r".ls\1.gamma"),
)


def _build(
    config: Mapping[str, Any], arguments: Mapping[str, Any], *, kind: type[VisionTransformer], extra: str = ""
) -> nn.Module:
    width, dino = int(config.get("hidden_size", 768)), kind is PairPooledViT
    hidden = int(width * config.get("mlp_ratio", 4)) if dino else int(config.get("intermediate_size", 3072))
    if config.get("use_swiglu_ffn"):
        hidden = 2 * ((int(hidden * 2 / 3) + 7) // 8 * 8)
    patch, eps = (14, 1e-6) if dino else (16, 1e-12)
    found = constructor(config, num_classes(config), patch=patch, eps=eps, hidden=hidden)
    found |= {"qkv_bias": bool(config.get("qkv_bias", True)), "act_layer": activation(config)}
    if dino:
        found["init_values"] = 1.0  # the layer scales exist; their values come with the weights
    if config.get("use_swiglu_ffn"):
        found |= {"mlp_layer": partial(GluMlp, gate_last=False), "act_layer": nn.SiLU}
    if extra == "distillation":
        found["reg_tokens"] = 1
    if extra == "registers":
        found |= {"reg_tokens": int(config.get("num_register_tokens", 4)), "no_embed_class": True}
    return kind(**{**found, **arguments})


def _convert(state: Mapping[str, Tensor], backbone: nn.Module, config: Mapping[str, Any]) -> dict[str, Tensor]:
    found = renamed(state, _NAMES)
    extra = "dist_token" if isinstance(backbone, VisionTransformerDistilled) else "reg_token"
    for name in ("embeddings.distillation_token", "embeddings.register_tokens"):
        if name in found:
            found[extra] = found.pop(name)
    if "pos_embed" in found:
        _place(found, backbone, config)
    return found


def _place(state: dict[str, Tensor], backbone: nn.Module, config: Mapping[str, Any]) -> None:
    """Resize the position table; registers have no position."""
    registers = bool(getattr(backbone, "no_embed_class", False))
    prefix = 1 if registers else int(backbone.num_prefix_tokens)  # type: ignore[arg-type]
    side = 14 if isinstance(backbone, PairPooledViT) else 16
    stored = grid_of(config.get("image_size", 224), config.get("patch_size", side))
    table = placed(state["pos_embed"], stored, grid_in(backbone), prefix, antialias=registers)
    if registers:
        state["cls_token"] = state["cls_token"] + table[:, :1]
        table = table[:, 1:]
    state["pos_embed"] = table


def _conversion(kind: type[VisionTransformer], extra: str = "") -> Conversion:
    return Conversion(partial(_build, kind=kind, extra=extra), _convert)


VIT = _conversion(VisionTransformer)
DEIT = _conversion(VisionTransformer, "distillation")  # reads the class token alone; the other one is like a register
DEIT_TEACHER = _conversion(VisionTransformerDistilled)
DINOV2 = _conversion(PairPooledViT)
DINOV2_REGISTERS = _conversion(PairPooledViT, "registers")

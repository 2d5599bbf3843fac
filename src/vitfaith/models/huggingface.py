"""Model folders of the Hugging Face hub as timm models: transformers' ViT, DeiT and DINOv2 classifiers, and timm's own.

Nothing of transformers is needed: ``config.json`` tells the shape, the tensors get timm's names, and query, key and
value become one matrix.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from vitfaith.artifacts.json_file import read_json_object
from vitfaith.errors import ArtifactError, ConfigError
from vitfaith.models.classifier import build_backbone
from vitfaith.models.fast.compiler import without_compiler
from vitfaith.models.pair_pooled import PairPooledViT

with without_compiler():
    from timm.layers.mlp import GluMlp
    from timm.layers.norm import LayerNorm
    from timm.models.deit import VisionTransformerDistilled
    from timm.models.vision_transformer import VisionTransformer

_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "gelu": nn.GELU,
    "gelu_new": partial(nn.GELU, approximate="tanh"),
    "gelu_pytorch_tanh": partial(nn.GELU, approximate="tanh"),
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "swish": nn.SiLU,
}
ARCHITECTURES: dict[str, type[VisionTransformer]] = {
    "ViTForImageClassification": VisionTransformer,
    "DeiTForImageClassification": VisionTransformer,  # reads the class token alone; the other one is like a register
    "DeiTForImageClassificationWithTeacher": VisionTransformerDistilled,
    "Dinov2ForImageClassification": PairPooledViT,
    "Dinov2WithRegistersForImageClassification": PairPooledViT,
}
"""What transformers calls a classifier that can be converted, and what it becomes."""

_NAMES = (
    (r"^(vit|deit|dinov2|dinov2_with_registers)\.", ""),
    (r"^embeddings\.cls_token$", "cls_token"),
    (r"^embeddings\.position_embeddings$", "pos_embed"),
    (r"^embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
    (r"^layernorm\.", "norm."),
    (r"^(cls_)?classifier\.", "head."),
    (r"^distillation_classifier\.", "head_dist."),
    (r"^encoder\.layer\.", "blocks."),
    (r"\.attention\.output\.dense\.", ".attn.proj."),
    (r"\.attention\.attention\.(query|key|value)\.", r".attn.\1."),
    (r"\.layernorm_before\.", ".norm1."),
    (r"\.layernorm_after\.", ".norm2."),
    (r"\.intermediate\.dense\.", ".mlp.fc1."),
    (r"^(blocks\.\d+)\.output\.dense\.", r"\1.mlp.fc2."),
    (r"\.mlp\.weights_in\.", ".mlp.fc1."),
    (r"\.mlp\.weights_out\.", ".mlp.fc2."),
    (r"\.layer_scale([12])\.lambda1$", r".ls\1.gamma"),
)
_UNREAD = re.compile(r"(^|\.)(mask_token|pooler\.dense\.(weight|bias))$")
"""Tensors that a classifier has and does not read."""


@dataclass(frozen=True)
class Folder:
    """A model folder, understood.

    Attributes:
        weights: file with the tensors.
        build: makes the timm model without its weights.
        convert: gives the file's tensors timm's names and shapes, for the model that was built.
        mean, std: of the preprocessing, in [0, 1] pixel units; None where the folder does not tell.
        class_names: in the order of the labels; empty where the folder does not tell.
    """

    weights: Path
    build: Callable[[], nn.Module]
    convert: Callable[[Mapping[str, Tensor], nn.Module], dict[str, Tensor]]
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    class_names: tuple[str, ...]


def read_folder(folder: Path, arguments: Mapping[str, Any]) -> Folder:
    """Understand ``folder``: ``config.json``, weights, and transformers' ``preprocessor_config.json``.

    Args:
        arguments: of timm's constructor, over those that the folder gives; ``img_size`` resizes the position table
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
    if kind not in ARCHITECTURES:
        raise ConfigError(
            f"models: '{folder}' holds a {kind}; converted are {', '.join(ARCHITECTURES)}; for others name a timm model"
        )
    mean, std = _normalisation(folder / "preprocessor_config.json")
    names = {int(k): str(v) for k, v in (config.get("id2label") or {}).items()}
    return Folder(
        weights=weights,
        build=lambda: _build(kind, config, arguments, folder),
        convert=partial(convert, config=config),
        mean=mean,
        std=std,
        class_names=tuple(names[k] for k in sorted(names)),
    )


def constructor_arguments(kind: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of timm's ``VisionTransformer`` for a transformers configuration; defaults are transformers'.

    Raises:
        ConfigError: the activation has no counterpart.
    """
    width = int(config.get("hidden_size", 768))
    dino = kind.startswith("Dinov2")
    hidden = int(width * config.get("mlp_ratio", 4)) if dino else int(config.get("intermediate_size", 3072))
    activation = str(config.get("hidden_act", "gelu"))
    if activation not in _ACTIVATIONS:
        raise ConfigError(f"models: hidden_act '{activation}' is not known; known: {', '.join(_ACTIVATIONS)}")
    found: dict[str, Any] = {
        "img_size": config.get("image_size", 224),
        "patch_size": config.get("patch_size", 14 if dino else 16),
        "in_chans": int(config.get("num_channels", 3)),
        "num_classes": len(config.get("id2label") or {0: "", 1: ""}),
        "embed_dim": width,
        "depth": int(config.get("num_hidden_layers", 12)),
        "num_heads": int(config.get("num_attention_heads", 12)),
        "qkv_bias": bool(config.get("qkv_bias", True)),
        "act_layer": _ACTIVATIONS[activation],
        "norm_layer": partial(LayerNorm, eps=float(config.get("layer_norm_eps", 1e-6 if dino else 1e-12))),
    }
    if dino:
        found["init_values"] = 1.0  # the layer scales exist; their values come with the weights
    if config.get("use_swiglu_ffn"):
        hidden = 2 * ((int(hidden * 2 / 3) + 7) // 8 * 8)
        found |= {"mlp_layer": partial(GluMlp, gate_last=False), "act_layer": nn.SiLU}
    if kind == "DeiTForImageClassification":
        found["reg_tokens"] = 1
    if kind.startswith("Dinov2WithRegisters"):
        found |= {"reg_tokens": int(config.get("num_register_tokens", 4)), "no_embed_class": True}
    # timm multiplies and cuts; the half keeps rounding from losing a unit
    return {**found, "mlp_ratio": (hidden + 0.5) / width}


def convert(state: Mapping[str, Tensor], backbone: nn.Module, config: Mapping[str, Any]) -> dict[str, Tensor]:
    """transformers' tensors under timm's names, for ``backbone``. What has no place keeps its name."""
    renamed: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if _UNREAD.search(name):
            continue
        for pattern, replacement in _NAMES:
            name = re.sub(pattern, replacement, name)
        renamed[name] = tensor
    for name in [n for n in renamed if ".attn.query." in n]:
        parts = [renamed.pop(name.replace("query", part), None) for part in ("query", "key", "value")]
        present = [part for part in parts if part is not None]
        renamed[name.replace("query", "qkv")] = torch.cat(present)
    extra = "dist_token" if isinstance(backbone, VisionTransformerDistilled) else "reg_token"
    for name in ("embeddings.distillation_token", "embeddings.register_tokens"):
        if name in renamed:
            renamed[extra] = renamed.pop(name)
    if "pos_embed" in renamed:
        _place_positions(renamed, backbone, antialias=config.get("model_type") == "dinov2_with_registers")
    return renamed


def _place_positions(state: dict[str, Tensor], backbone: nn.Module, *, antialias: bool) -> None:
    """Resize the position table to the model's grid as transformers does; registers have no position of their own."""
    rows, columns = (int(side) for side in backbone.patch_embed.grid_size)  # type: ignore[union-attr]
    table = state["pos_embed"]
    prefix = 1 if antialias else int(backbone.num_prefix_tokens)  # type: ignore[arg-type]
    side = round((table.shape[1] - prefix) ** 0.5)
    if table.shape[1] - prefix != rows * columns and side * side == table.shape[1] - prefix:
        if table.is_meta:  # the shape is all there is
            table = table.new_empty(1, prefix + rows * columns, table.shape[2])
        else:
            grid = table[:, prefix:].unflatten(1, (side, side)).permute(0, 3, 1, 2).float()
            resized = functional.interpolate(grid, (rows, columns), mode="bicubic", antialias=antialias)
            table = torch.cat([table[:, :prefix], resized.flatten(2).transpose(1, 2)], dim=1)
    if bool(getattr(backbone, "no_embed_class", False)):
        state["cls_token"] = state["cls_token"] + table[:, :1]
        table = table[:, 1:]
    state["pos_embed"] = table


def _build(kind: str, config: Mapping[str, Any], arguments: Mapping[str, Any], folder: Path) -> nn.Module:
    try:
        return ARCHITECTURES[kind](**{**constructor_arguments(kind, config), **arguments})
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


def _normalisation(file: Path) -> tuple[tuple[float, ...] | None, tuple[float, ...] | None]:
    if not file.is_file():
        return None, None
    content = read_json_object(file, "models")
    mean, std = _floats(content.get("image_mean")), _floats(content.get("image_std"))
    if content.get("do_normalize") is False:
        channels = len(mean or (0, 0, 0))
        return (0.0,) * channels, (1.0,) * channels
    return mean, std


def _floats(values: Any) -> tuple[float, ...] | None:
    return None if values is None else tuple(map(float, values))

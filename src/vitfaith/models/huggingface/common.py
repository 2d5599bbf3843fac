"""Shared by the families: names of tensors, activations, shapes, and the table of positions."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from vitfaith.errors import ConfigError
from vitfaith.models.fast.compiler import without_compiler

with without_compiler():
    from timm.layers.activations import QuickGELU
    from timm.layers.mlp import Mlp
    from timm.layers.norm import LayerNorm

Shape = tuple[int, int]
Names = Iterable[tuple[str, str]]

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "gelu": nn.GELU,
    "gelu_new": partial(nn.GELU, approximate="tanh"),
    "gelu_pytorch_tanh": partial(nn.GELU, approximate="tanh"),
    "quick_gelu": QuickGELU,
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "swish": nn.SiLU,
}
NAMES = (
    (r"^embeddings\.cls_token$", "cls_token"),
    (r"^embeddings\.position_embeddings$", "pos_embed"),
    (r"^embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
    (r"^layernorm\.", "norm."),
    (r"^encoder\.layer\.", "blocks."),
    (r"\.attention\.output\.dense\.", ".attn.proj."),
    (r"\.attention\.(attention|self)\.", ".attn."),
    (r"\.layernorm_before\.", ".norm1."),
    (r"\.layernorm_after\.", ".norm2."),
    (r"\.intermediate\.dense\.", ".mlp.fc1."),
    (r"(blocks\.\d+)\.output\.dense\.", r"\1.mlp.fc2."),
)
"""Patterns, applied one after the other, that give the tensors of ViT, BEiT and Swin in transformers their names in timm."""
SEPARATE_BIAS = ((r"\.attn\.query\.bias$", ".attn.q_bias"), (r"\.attn\.value\.bias$", ".attn.v_bias"))
"""The same for models whose keys have no bias."""
UNREAD = r"(^|\.)(mask_token|relative_position_index|relative_coords_table|position_ids|pooler\.dense\.(weight|bias))$"
"""Tensors that a classifier of transformers may store and does not read, or that timm computes."""


@dataclass(frozen=True)
class Conversion:
    """How a class of transformers becomes a timm model.

    Attributes:
        build: makes the timm model without its weights, from a configuration of transformers and arguments of timm's
            constructor that go over it; raises :class:`ConfigError` where the logits could not be equal.
        convert: gives transformers' tensors timm's names and shapes, for the model that was built and the
            configuration. A tensor without a place in the model keeps its name.
    """

    build: Callable[[Mapping[str, Any], Mapping[str, Any]], nn.Module]
    convert: Callable[[Mapping[str, Tensor], nn.Module, Mapping[str, Any]], dict[str, Tensor]]


def renamed(state: Mapping[str, Tensor], names: Names, unread: str = UNREAD) -> dict[str, Tensor]:
    """``state`` without the tensors that match ``unread``; ``query``, ``key`` and ``value`` become one ``qkv``."""
    found: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if re.search(unread, name):
            continue
        for pattern, replacement in names:
            name = re.sub(pattern, replacement, name)
        found[name] = tensor
    for name in [n for n in found if ".attn.query." in n]:
        parts = [found.pop(name.replace("query", part), None) for part in ("query", "key", "value")]
        found[name.replace("query", "qkv")] = torch.cat([part for part in parts if part is not None])
    return found


def activation(config: Mapping[str, Any], default: str = "gelu") -> Callable[[], nn.Module]:
    """The constructor of ``hidden_act``; raises :class:`ConfigError` where it has no counterpart."""
    name = str(config.get("hidden_act", default))
    if name not in ACTIVATIONS:
        raise ConfigError(f"models: hidden_act '{name}' is not known; known: {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]


def set_activation(backbone: nn.Module, config: Mapping[str, Any]) -> None:
    """Give the MLPs their activation, for models whose constructor takes none."""
    chosen = activation(config)
    for module in backbone.modules():
        if isinstance(module, Mlp):
            module.act = chosen()


def num_classes(config: Mapping[str, Any]) -> int:
    """Number of labels; transformers does not write its default, two."""
    return len(config.get("id2label") or {0: "", 1: ""})


def constructor(
    config: Mapping[str, Any], classes: int, *, patch: int, eps: float, hidden: int | None = None
) -> dict[str, Any]:
    """Arguments of timm's constructors that the columnar families share.

    Args:
        config: of the image tower.
        patch, eps: what transformers takes where the configuration is silent.
        hidden: width inside the MLPs; without it ``intermediate_size``.
    """
    width = int(config.get("hidden_size", 768))
    hidden = int(config.get("intermediate_size", 3072)) if hidden is None else hidden
    return {
        "img_size": config.get("image_size", 224),
        "patch_size": config.get("patch_size", patch),
        "in_chans": int(config.get("num_channels", 3)),
        "num_classes": classes,
        "embed_dim": width,
        "depth": int(config.get("num_hidden_layers", 12)),
        "num_heads": int(config.get("num_attention_heads", 12)),
        # timm multiplies and cuts; the half keeps rounding from losing a unit
        "mlp_ratio": (hidden + 0.5) / width,
        "norm_layer": partial(LayerNorm, eps=float(config.get("layer_norm_eps", eps))),
    }


def pair(size: Any) -> Shape:
    """Height and width of a side that may be one number."""
    height, width = size if isinstance(size, list | tuple) else (size, size)
    return int(height), int(width)


def grid_of(image: Any, patch: Any) -> Shape:
    """Rows and columns of whole patches."""
    (height, width), (down, across) = pair(image), pair(patch)
    return height // down, width // across


def grid_in(backbone: nn.Module) -> Shape:
    """Rows and columns of patches of the timm model that was built."""
    embedding: Any = backbone.patch_embed
    return pair(embedding.grid_size)


def placed(
    table: Tensor, stored: Shape, grid: Shape, prefix: int, *, mode: str = "bicubic", antialias: bool = False
) -> Tensor:
    """The position table (1, prefix + n, D) of a ``stored`` grid, resized to ``grid`` as transformers does.

    A table of another size than ``stored`` comes back as it is: it does not fit the model, which says so.

    Raises:
        ConfigError: the stored grid is oblong; transformers takes every grid for a square one when it resizes.
    """
    if stored == grid or table.shape[1] != prefix + stored[0] * stored[1]:
        return table
    if stored[0] != stored[1]:
        raise ConfigError(
            f"models: positions of an oblong grid ({stored[0]}×{stored[1]}) are not resized to {grid[0]}×{grid[1]}; "
            "leave img_size out"
        )
    if table.is_meta:  # the shape is all there is
        return table.new_empty(1, prefix + grid[0] * grid[1], table.shape[2])
    cells = table[:, prefix:].unflatten(1, stored).permute(0, 3, 1, 2).float()
    resized = functional.interpolate(cells, grid, mode=mode, antialias=antialias).flatten(2).transpose(1, 2)
    return torch.cat([table[:, :prefix], resized.to(table.dtype)], dim=1)

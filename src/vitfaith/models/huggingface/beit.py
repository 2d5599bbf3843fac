"""BEiT and BEiT v2, which are one class: relative positions, of each block or shared, and a pooled or a class token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from vitfaith.errors import ConfigError
from vitfaith.models.fast.compiler import without_compiler
from vitfaith.models.huggingface.common import (
    NAMES,
    SEPARATE_BIAS,
    Conversion,
    Shape,
    constructor,
    grid_in,
    grid_of,
    num_classes,
    placed,
    renamed,
    set_activation,
)

with without_compiler():
    from timm.models.beit import Beit

_NAMES = (
    (r"^beit\.", ""),
    (r"^classifier\.", "head."),
    (r"^pooler\.layernorm\.", "fc_norm."),
    (r"^encoder\.relative_position_bias\.", "rel_pos_bias."),
    *NAMES,
    (r"\.attn\.relative_position_bias\.", ".attn."),
    (r"\.lambda_([12])$", r".gamma_\1"),
    *SEPARATE_BIAS,
)
_TABLE = "relative_position_bias_table"
_APART = 3
"""Rows at the end of a table: from the class token to a patch, back, and to itself."""


def _build(config: Mapping[str, Any], arguments: Mapping[str, Any]) -> nn.Module:
    rows, columns = grid_of(config.get("image_size", 224), config.get("patch_size", 16))
    if rows != columns:
        raise ConfigError("models: transformers mixes up the offsets of a BEiT for oblong images; use a timm model")
    found = constructor(config, num_classes(config), patch=16, eps=1e-12)
    found |= {
        "init_values": max(float(config.get("layer_scale_init_value", 0.1)), 0.0),
        "use_abs_pos_emb": bool(config.get("use_absolute_position_embeddings", False)),
        "use_rel_pos_bias": bool(config.get("use_relative_position_bias", False)),
        "use_shared_rel_pos_bias": bool(config.get("use_shared_relative_position_bias", False)),
        "global_pool": "avg" if config.get("use_mean_pooling", True) else "token",
    }
    backbone = Beit(**{**found, **arguments})
    set_activation(backbone, config)
    return backbone


def _convert(state: Mapping[str, Tensor], backbone: nn.Module, config: Mapping[str, Any]) -> dict[str, Tensor]:
    found = renamed(state, _NAMES)
    stored = grid_of(config.get("image_size", 224), config.get("patch_size", 16))
    grid = grid_in(backbone)
    for name, tensor in found.items():
        if name == "pos_embed":
            found[name] = placed(tensor, stored, grid, prefix=1)
        elif name.endswith(_TABLE):
            found[name] = _resized(tensor, stored, grid)
    return found


def _resized(table: Tensor, stored: Shape, grid: Shape) -> Tensor:
    """Biases (offsets + 3, heads) of a square ``stored`` grid for ``grid``, bilinear as in transformers."""
    (tall, wide), (rows, columns) = ((2 * side[0] - 1, 2 * side[1] - 1) for side in (stored, grid))
    offsets = len(table) - _APART
    if offsets != tall * wide or stored == grid:
        return table
    if table.is_meta:
        return table.new_empty(rows * columns + _APART, table.shape[1])
    cells = table[:offsets].float().reshape(1, tall, wide, -1).permute(0, 3, 1, 2)
    resized = functional.interpolate(cells, (rows, columns), mode="bilinear").flatten(2)[0].T
    return torch.cat([resized.to(table.dtype), table[offsets:]])


BEIT = Conversion(_build, _convert)

"""The linear layers of a block as the rules see them: stacked where they read one input, with layer scale folded in.

Two spellings of one function get one relevance. Biases take no part in the rules, so only weights are made.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def queries_keys_values(attention: Any, dtype: torch.dtype) -> Tensor:
    """Weights (queries + keys + values, D) of all projections of ``attention``."""
    if getattr(attention, "qkv", None) is not None:
        return weight(attention.qkv, dtype)
    return torch.cat([weight(layer, dtype) for layer in (attention.q_proj, attention.k_proj, attention.v_proj)])


def hidden(mlp: Any, dtype: torch.dtype) -> Tensor:
    """Weights of the first layer of ``mlp``; of gate and value, one after the other, in a gated one."""
    if hasattr(mlp, "fc1_g"):
        return torch.cat([weight(mlp.fc1_g, dtype), weight(mlp.fc1_x, dtype)])
    return weight(mlp.fc1, dtype)


def attention_out(block: Any, dtype: torch.dtype) -> Tensor:
    """Weights of the last layer of the block's attention, with the layer scale of that branch."""
    return _scaled(weight(block.attn.proj, dtype), block, "gamma_1", "ls1")


def mlp_out(block: Any, dtype: torch.dtype) -> Tensor:
    """Weights of the last layer of the block's MLP, with the layer scale of that branch."""
    return _scaled(weight(block.mlp.fc2, dtype), block, "gamma_2", "ls2")


def weight(layer: Any, dtype: torch.dtype) -> Tensor:
    """Weights (O, I) of a linear layer."""
    found = layer.weight.detach().to(dtype)
    assert isinstance(found, Tensor)
    return found


def _scaled(weights: Tensor, block: Any, parameter: str, module: str) -> Tensor:
    scale = getattr(block, parameter, None)  # EVA's and BEiT's
    scale = scale if scale is not None else getattr(getattr(block, module, None), "gamma", None)
    return weights if scale is None else weights * scale.detach().to(weights.dtype)[:, None]

"""Other spellings of one function: the same model with its weights in other places. Maps must not know."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch
from timm.layers import GluMlp
from timm.models.vision_transformer import ParallelScalingBlock
from torch import nn

from vitfaith.models.classifier import Classifier


def with_signed_scales(classifier: Classifier) -> Classifier:
    """The model with random factors of both signs in its layer scales."""
    changed = copy.deepcopy(classifier)
    generator = torch.Generator().manual_seed(3)
    for name, parameter in changed.named_parameters():
        if name.split(".")[-1] in ("gamma", "gamma_1", "gamma_2"):
            parameter.data = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
    return changed


def folded(classifier: Classifier) -> Classifier:
    """Layer scales as part of the linear layers before them."""
    changed = copy.deepcopy(classifier)
    for module in changed.modules():
        for scale, name in _scales(module):
            for layer in _layers_before(module, name):
                layer.weight.data *= scale.data[:, None]
                if layer.bias is not None:
                    layer.bias.data *= scale.data
            setattr(module, name, None if name.startswith("gamma") else nn.Identity())
    return changed


def scales(classifier: Classifier) -> int:
    """How many layer scales there are."""
    return sum(1 for module in classifier.modules() for _ in _scales(module))


def _scales(module: nn.Module) -> Iterator[tuple[Any, str]]:
    for name in ("gamma_1", "gamma_2"):
        if isinstance(getattr(module, name, None), nn.Parameter):
            yield getattr(module, name), name
    for name in ("ls1", "ls2", "ls"):
        if hasattr(getattr(module, name, None), "gamma"):
            yield getattr(module, name).gamma, name


def _layers_before(module: Any, name: str) -> list[Any]:
    if isinstance(module, ParallelScalingBlock):
        layers = (module.out_proj, module.attn_out_proj, module.mlp_out_proj)
        return [layer for layer in layers if layer is not None]
    attention = name in ("gamma_1", "ls1") or (name == "ls" and hasattr(module, "attn"))
    return [module.attn.proj if attention else module.mlp.fc2]


def with_heads_permuted(classifier: Classifier) -> Classifier:
    """The heads of every attention in another order."""
    changed = copy.deepcopy(classifier)
    for name, module in changed.named_modules():
        attention: Any = module
        if not hasattr(module, "num_heads") or "block" in type(module).__name__.lower():
            continue
        order = torch.arange(attention.num_heads).roll(1)
        if hasattr(module, "relative_position_bias_table") or hasattr(module, "rel_pos"):
            _permute_position_bias(getattr(module, "rel_pos", None) or module, order)
        if not isinstance(getattr(module, "proj", None), nn.Linear):
            continue
        rows = torch.arange(attention.proj.in_features).unflatten(0, (len(order), -1))[order].flatten()
        for layer_name, parts in (("qkv", 3), ("q_proj", 1), ("k_proj", 1), ("v_proj", 1), ("q", 1), ("kv", 2)):
            layer = getattr(module, layer_name, None)
            if isinstance(layer, nn.Linear):
                index = torch.cat([rows + i * len(rows) for i in range(parts)])
                layer.weight.data = layer.weight.data[index]
                if layer.bias is not None:
                    layer.bias.data = layer.bias.data[index]
        for bias_name in ("q_bias", "k_bias", "v_bias"):
            if getattr(module, bias_name, None) is not None:
                getattr(module, bias_name).data = getattr(module, bias_name).data[rows]
        if "attn_pool" not in name and getattr(getattr(module, "norm", None), "weight", None) is not None:
            for parameter in attention.norm.parameters():
                parameter.data = parameter.data[rows]
        attention.proj.weight.data = attention.proj.weight.data[:, rows]
    backbone: Any = changed.backbone
    for shared in (getattr(backbone, "rel_pos_bias", None), getattr(backbone, "shared_rel_pos", None)):
        if shared is not None:
            _permute_position_bias(shared, torch.arange(backbone.blocks[0].attn.num_heads).roll(1))
    return changed


def _permute_position_bias(module: Any, order: torch.Tensor) -> None:
    if getattr(module, "relative_position_bias_table", None) is not None:
        module.relative_position_bias_table.data = module.relative_position_bias_table.data[:, order]
    elif hasattr(module, "rel_coords_log"):
        for parameter in module.mlp.fc2.parameters():
            parameter.data = parameter.data[order]


def respelled(classifier: Classifier) -> Classifier:
    """Unfused attention, one projection with a bias of its own, gate and value of an MLP in one layer."""
    changed = copy.deepcopy(classifier)
    for module in list(changed.modules()):
        part: Any = module
        if hasattr(module, "fused_attn"):
            part.fused_attn = False
        if getattr(module, "q_proj", None) is not None and part.num_heads == getattr(
            module, "num_kv_heads", part.num_heads
        ):
            part.qkv = _stacked(part.q_proj, part.k_proj, part.v_proj)
            part.q_proj = part.k_proj = part.v_proj = None
        elif getattr(module, "q_bias", None) is not None:
            part.qkv = _stacked(part.qkv)
            part.qkv.bias = nn.Parameter(torch.cat([part.q_bias, part.k_bias, part.v_bias]).data)
            part.q_bias = part.k_bias = part.v_bias = None
        if hasattr(getattr(module, "mlp", None), "fc1_g"):
            part.mlp = _packed(part.mlp)
    return changed.eval().requires_grad_(False)


def _stacked(*layers: Any) -> nn.Linear:
    weight = torch.cat([layer.weight.data for layer in layers])
    found = nn.Linear(weight.shape[1], weight.shape[0], dtype=weight.dtype)
    found.weight.data = weight
    zeros = [torch.zeros(len(layer.weight), dtype=weight.dtype) for layer in layers]
    found.bias.data = torch.cat([z if x.bias is None else x.bias.data for x, z in zip(layers, zeros, strict=True)])
    return found


def _packed(mlp: Any) -> GluMlp:
    found = GluMlp(mlp.fc1_g.in_features, 2 * mlp.fc1_g.out_features, act_layer=nn.SiLU, gate_last=True)
    found.fc1 = _stacked(mlp.fc1_x, mlp.fc1_g)
    found.norm, found.fc2 = mlp.norm, mlp.fc2
    return found

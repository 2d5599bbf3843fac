"""Which models have relevance rules: everything else is refused by name, never treated as if it were linear."""

from __future__ import annotations

from timm.layers.activations import GELU, GELUTanh, QuickGELU, Swish
from timm.layers.attention import Attention
from timm.layers.drop import DropPath
from timm.layers.layer_scale import LayerScale
from timm.layers.mlp import Mlp
from timm.layers.norm import LayerNorm, LayerNormFp32, RmsNorm
from timm.layers.patch_dropout import PatchDropout
from timm.layers.patch_embed import PatchEmbed
from timm.models.deit import VisionTransformerDistilled
from timm.models.vision_transformer import Block, ParallelThingsBlock, ResPostBlock, VisionTransformer
from torch import nn

from vitfaith.errors import InputError
from vitfaith.models.pair_pooled import PairPooledViT

LAYER_NORMS = (nn.LayerNorm, LayerNorm, LayerNormFp32)
RMS_NORMS = (nn.RMSNorm, RmsNorm)
NORMS = LAYER_NORMS + RMS_NORMS
ACTIVATIONS = (nn.GELU, nn.SiLU, nn.ReLU, GELU, GELUTanh, QuickGELU, Swish)
"""Functions ``x·gate(x)`` of one number; all have the limit gate(0) = 1/2 (for ReLU: the mean of both sides)."""

_NEUTRAL = (nn.Identity, nn.Dropout, DropPath, PatchDropout, LayerScale, nn.Linear, nn.Conv2d)
_CONTAINERS = (nn.Sequential, nn.ModuleList, PatchEmbed, Mlp, Attention, Block)
_RELPROP = _CONTAINERS + _NEUTRAL + NORMS + ACTIVATIONS
_GRADIENT = (*_RELPROP, ResPostBlock, ParallelThingsBlock)


def check_relprop(network: nn.Module) -> VisionTransformer:
    """``network``, if the rules of Chefer et al. cover it.

    Covered: timm ``VisionTransformer`` (also distilled) made of standard blocks, with class-token or average pooling,
    registers, layer scale, query-key normalisation, any number of prefix tokens, learned or no position embedding.

    Raises:
        InputError: another architecture, a module or a pooling without a rule; the text names it.
    """
    backbone = _check(network, _RELPROP, "LRP", (VisionTransformer, VisionTransformerDistilled))
    if backbone.global_pool not in ("token", "avg"):
        raise InputError(
            f"LRP has no rule for {backbone.global_pool!r} pooling; use a model pooled by 'token' or 'avg'"
        )
    convolution = backbone.patch_embed.proj
    if convolution.stride != convolution.kernel_size or convolution.padding != (0, 0):
        raise InputError("LRP needs patches that do not overlap; this model's patch embedding is another convolution")
    return backbone


def check_gradient_rules(network: nn.Module) -> VisionTransformer:
    """``network``, if every non-linear module in it has a modified backward pass.

    Covered: what :func:`check_relprop` covers, every pooling without weights (also DINOv2's pair of class token and mean
    patch), post-norm and parallel blocks.

    Raises:
        InputError: another architecture or a module without a rule; the text names it.
    """
    kinds = (VisionTransformer, VisionTransformerDistilled, PairPooledViT)
    return _check(network, _GRADIENT, "the modified backward pass", kinds)


def _check(
    network: nn.Module, known: tuple[type[nn.Module], ...], job: str, kinds: tuple[type[nn.Module], ...]
) -> VisionTransformer:
    if type(network) not in kinds:
        raise InputError(f"{job} has no rules for {type(network).__name__}; use a timm VisionTransformer")
    for name, module in network.named_modules():
        if name and type(module) not in known:
            raise InputError(f"{job} has no rule for module '{name}' ({type(module).__name__}); use a standard ViT")
        if isinstance(module, Attention) and module.gate is not None:
            raise InputError(f"{job} has no rule for the gated attention of '{name}'; use a ViT without gates")
    assert isinstance(network, VisionTransformer)
    if not isinstance(network.head, nn.Linear):
        raise InputError(f"{job} starts at class logits; this model has no linear head (num_classes=0)")
    return network

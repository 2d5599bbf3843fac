"""Which models have relevance rules: everything else is refused by name, never treated as if it were linear."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

from timm.layers import attention_pool, pos_embed_sincos
from timm.layers.activations import GELU, GELUTanh, QuickGELU, Swish
from timm.layers.attention import Attention, AttentionRope
from timm.layers.attention_pool import AttentionPoolLatent
from timm.layers.drop import DropPath
from timm.layers.layer_scale import LayerScale
from timm.layers.mlp import GluMlp, Mlp, SwiGLU
from timm.layers.norm import LayerNorm, LayerNormFp32, RmsNorm
from timm.layers.patch_dropout import PatchDropout, PatchDropoutWithIndices
from timm.layers.patch_embed import PatchEmbed
from timm.layers.pos_embed_rel import RelPosBias, RelPosMlp
from timm.layers.pos_embed_sincos import (
    RotaryEmbedding,
    RotaryEmbeddingCat,
    RotaryEmbeddingDinoV3,
    RotaryEmbeddingMixed,
)
from timm.models import beit
from timm.models.deit import VisionTransformerDistilled
from timm.models.eva import Eva, EvaAttention, EvaBlock, EvaBlockPostNorm
from timm.models.vision_transformer import (
    Block,
    ParallelScalingBlock,
    ParallelThingsBlock,
    ResPostBlock,
    VisionTransformer,
)
from timm.models.vision_transformer_relpos import (
    RelPosAttention,
    RelPosBlock,
    ResPostRelPosBlock,
    VisionTransformerRelPos,
)
from torch import nn

from vitfaith.errors import InputError
from vitfaith.models.fast.altered import found_twice, has_own_forward, is_altered
from vitfaith.models.pair_pooled import PairPooledViT


def _where_timm_has_it(module: ModuleType, name: str) -> tuple[type[nn.Module], ...]:
    """A class that older releases of timm lack: no model of theirs can hold one."""
    return (getattr(module, name),) if hasattr(module, name) else ()


_POOL_PRR = _where_timm_has_it(attention_pool, "AttentionPoolPrr")  # timm 1.0.26

LAYER_NORMS = (nn.LayerNorm, LayerNorm, LayerNormFp32)
RMS_NORMS = (nn.RMSNorm, RmsNorm)
NORMS = LAYER_NORMS + RMS_NORMS
ACTIVATIONS = (nn.GELU, nn.SiLU, nn.ReLU, GELU, GELUTanh, QuickGELU, Swish)
"""Functions ``x·gate(x)`` of one number; all have the limit gate(0) = 1/2 (for ReLU: the mean of both sides)."""
GATED_MLPS = (SwiGLU, GluMlp)
"""MLPs whose hidden values are ``act(g) ⊙ x`` with two linear maps g and x of the token."""
ATTENTIONS = (Attention, AttentionRope, EvaAttention, beit.Attention, RelPosAttention)
"""Self-attention with projections; rotary embeddings and position biases act before or inside its one product."""
POOLS: tuple[type[nn.Module], ...] = (AttentionPoolLatent, *_POOL_PRR)

_POSITIONS = (RelPosBias, RelPosMlp, beit.RelativePositionBias, RotaryEmbedding, RotaryEmbeddingCat,
              RotaryEmbeddingDinoV3, RotaryEmbeddingMixed, *_where_timm_has_it(pos_embed_sincos, "RotaryEmbeddingMRope"))  # fmt: skip
_NEUTRAL = (nn.Identity, nn.Dropout, DropPath, PatchDropout, PatchDropoutWithIndices, LayerScale, nn.Linear, nn.Conv2d)
_BLOCKS = (Block, ResPostBlock, EvaBlock, EvaBlockPostNorm, beit.Block, RelPosBlock, ResPostRelPosBlock)
_CONTAINERS = (nn.Sequential, nn.ModuleList, PatchEmbed, Mlp, *GATED_MLPS, *ATTENTIONS, *_BLOCKS, AttentionPoolLatent)
_RELPROP = _CONTAINERS + _POSITIONS + _NEUTRAL + NORMS + ACTIVATIONS
_GRADIENT = (*_RELPROP, ParallelThingsBlock, ParallelScalingBlock, *_POOL_PRR)
_NETWORKS = (VisionTransformer, VisionTransformerDistilled, PairPooledViT, Eva, beit.Beit, VisionTransformerRelPos)

_WITHOUT_RULES = "use an explainer that needs no rules, such as integrated_gradients or rise"
_WITH_OTHER_RULES = "use cp_lrp, attnlrp or a libragrad explainer, which have rules for it"


def modules_of(network: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Names and modules below ``network`` that see the image; the insides of position modules, constants, are left out."""

    def walk(name: str, module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
        for child_name, child in module.named_children():
            path = f"{name}.{child_name}" if name else child_name
            yield path, child
            if not isinstance(child, _POSITIONS):
                yield from walk(path, child)

    return walk("", network)


def check_relprop(network: nn.Module) -> Any:
    """``network``, if the rules of Chefer et al. and their extensions cover it.

    Covered: timm's ``VisionTransformer`` (also distilled), ``Eva`` (EVA, EVA02, DINOv3, Perception Encoder, RoPE-ViT),
    ``Beit`` and ``VisionTransformerRelPos``, made of blocks with one attention and one MLP, pooled by class token, mean,
    both side by side (DINOv2) or learned query. Blocks may have rotary embeddings, position biases, gated MLPs, grouped queries, norms before or
    after attention and MLP, inside them, and on queries and keys, and layer scale.

    Raises:
        InputError: another architecture, a module or a pooling without a rule; the text names it and what to use.
    """
    try:
        backbone = _check(network, _RELPROP, _NETWORKS, "LRP")
        hooked = next((name for name, module in modules_of(backbone) if is_altered(module)), None)
        if hooked is not None:
            raise InputError(
                f"LRP reads weights, and module '{hooked}' has hooks, which may change its output; remove them"
            )
        if backbone.global_pool not in ("token", "avg", "map"):
            raise InputError(f"LRP has no rule for {backbone.global_pool!r} pooling")
        pool = getattr(backbone, "attn_pool", None)
        if pool is not None and (pool.latent_len != 1 or pool.mlp is None):
            raise InputError("LRP has no rule for attention pooling by several queries or without an MLP")
        convolution = backbone.patch_embed.proj
        if convolution.stride != convolution.kernel_size or convolution.padding != (0, 0):
            raise InputError(
                "LRP needs patches that do not overlap; this model's patch embedding is another convolution"
            )
    except InputError as error:
        raise InputError(f"{error}; {_WITH_OTHER_RULES if _has_gradient_rules(network) else _WITHOUT_RULES}") from None
    return backbone


def check_gradient_rules(network: nn.Module) -> Any:
    """``network``, if every non-linear module in it has a modified backward pass.

    Covered: what :func:`check_relprop` covers, every other pooling, and both kinds of parallel blocks. Differential attention and gated attention have no published rule.

    Raises:
        InputError: another architecture or a module without a rule; the text names it and what to use.
    """
    try:
        return _check(network, _GRADIENT, _NETWORKS, "the modified backward pass")
    except InputError as error:
        raise InputError(f"{error}; {_WITHOUT_RULES}") from None


def _has_gradient_rules(network: nn.Module) -> bool:
    try:
        check_gradient_rules(network)
    except InputError:
        return False
    return True


def _check(
    network: nn.Module, known: tuple[type[nn.Module], ...], networks: tuple[type[nn.Module], ...], job: str
) -> Any:
    if type(network) not in networks:
        raise InputError(f"{job} has no rules for {type(network).__name__}")
    twice = found_twice(network)
    if twice is not None:
        raise InputError(f"{job} needs each module at one place, and '{twice[1]}' is '{twice[0]}' again")
    for name, module in modules_of(network):
        if type(module) not in known:
            raise InputError(f"{job} has no rule for module '{name}' ({type(module).__name__})")
        if has_own_forward(module):
            raise InputError(f"{job} has no rule for module '{name}', whose forward was replaced")
        if getattr(module, "gate", None) is not None and isinstance(module, ATTENTIONS):
            raise InputError(f"{job} has no rule for the gated attention of '{name}'")
        if isinstance(module, AttentionPoolLatent) and module.pos_embed is not None:
            raise InputError(f"{job} has no rule for the position embedding of '{name}'")
    if not isinstance(network.head, nn.Linear):
        raise InputError(
            f"{job} starts at class logits of one linear layer, and this model's head is {type(network.head).__name__}"
        )
    if not network.global_pool:
        raise InputError(f"{job} starts at class logits; this model gives some for every token (global_pool='')")
    return network

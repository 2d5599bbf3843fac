"""Tiny random models of the families that relevance rules cover, one for every form that their modules take."""

from __future__ import annotations

import copy
from functools import cache

import timm
import torch
from torch import Tensor

from tests.conftest import tiny_vit
from tests.explainers.zoo import TINY, tiny
from vitfaith.explainers.relevance.full_gradient import FullGradient
from vitfaith.models.classifier import Classifier, freeze
from vitfaith.models.pair_pooled import PairPooledViT


def pair_pooled(**arguments: object) -> Classifier:
    """DINOv2 with its published kind of head."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        backbone = PairPooledViT(**{**TINY, **arguments})  # type: ignore[arg-type]
        for parameter in backbone.parameters():
            parameter.data.add_(0.1 * torch.randn_like(parameter))
    return freeze(Classifier(backbone, [0.5] * 3, [0.25] * 3))


FAMILIES = {
    "EVA": lambda: tiny("eva_giant_patch14_224", **TINY, init_values=0.5),
    "EVA, post-norm": lambda: tiny("eva02_enormous_patch14_clip_224", **TINY),
    "EVA02, packed SwiGLU": lambda: tiny("eva02_tiny_patch14_224", **TINY),
    "EVA02, SwiGLU with sub-LN": lambda: tiny("eva02_base_patch14_224", **TINY),
    "EVA02, attention with sub-LN": lambda: tiny("eva02_base_patch16_clip_224", **TINY),
    "DINOv3": lambda: tiny("vit_small_patch16_dinov3", **TINY, global_pool="token"),
    "DINOv3, SwiGLU": lambda: tiny("vit_small_plus_patch16_dinov3", **{**TINY, "img_size": (16, 24)}, global_pool="avg"),
    "Perception Encoder": lambda: tiny("vit_pe_core_small_patch16_384", **TINY),
    "RoPE-ViT, mixed": lambda: tiny("vit_small_patch16_rope_mixed_ape_224", **TINY),
    "RoPE, query-key norm": lambda: tiny("eva02_tiny_patch14_224", **TINY, attn_type="rope", qk_norm=True),
    "grouped queries": lambda: tiny(
        "eva02_tiny_patch14_224", **TINY, attn_type="rope", qkv_fused=False, num_kv_heads=1, global_pool="map"
    ),
    "BEiT": lambda: tiny("beit_base_patch16_224", **TINY),
    "BEiT, shared bias": lambda: tiny(
        "beit_base_patch16_224", **{**TINY, "img_size": (16, 24)}, use_rel_pos_bias=False, use_shared_rel_pos_bias=True,
        swiglu_mlp=True, scale_mlp=True,
    ),
    "relpos": lambda: tiny("vit_relpos_small_patch16_224", **TINY, fc_norm=True),
    "relpos, class token, table": lambda: tiny(
        "vit_relpos_small_patch16_224", **TINY, class_token=True, rel_pos_type="bias", global_pool="token", qk_norm=True
    ),
    "relpos, post-norm, shared": lambda: tiny("vit_srelpos_small_patch16_224", **TINY, rel_pos_type="mlp-swin"),
    "SigLIP": lambda: tiny("vit_base_patch16_siglip_224", **TINY),
    "SigLIP with registers": lambda: tiny("vit_so150m_patch16_reg4_map_256", **TINY),
    "AIMv2": lambda: tiny("aimv2_large_patch14_224", **TINY),
    "DINOv2 giant": lambda: tiny("vit_giant_patch14_dinov2", **TINY),
    "DINOv2, both pools": lambda: pair_pooled(init_values=0.5, reg_tokens=2, no_embed_class=True),
    "BEiT-3": lambda: tiny("beit3_base_patch16_224", **TINY),
    "post-norm": lambda: tiny("vit_base_patch16_rpn_224", **TINY),
}  # fmt: skip
PARALLEL = {
    "parallel": lambda: tiny("vit_small_patch16_18x2_224", **TINY),
    "parallel, scaled": lambda: tiny("vit_base_patch16_xp_224", **TINY, init_values=0.5),
    "parallel, scaled, one projection": lambda: tiny_vit(
        3, block_fn=timm.models.vision_transformer.ParallelScalingBlock, qkv_bias=False
    ),
    "refined patches": lambda: tiny_vit(3, global_pool="prr"),
}
"""Models that the modified backward passes cover, and LRP after Chefer et al. does not."""


@cache
def _built(name: str) -> Classifier:
    return (FAMILIES | PARALLEL)[name]()


def ruled(name: str) -> Classifier:
    """A float64 copy of the model ``name``."""
    return copy.deepcopy(_built(name)).double()


def batch(classifier: Classifier, count: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    """Images in float32 and targets that fit ``classifier``."""
    images = torch.rand(count, *classifier.input_shape, generator=torch.Generator().manual_seed(7))
    return images, torch.arange(count) % classifier.num_classes


def gap(found: FullGradient) -> Tensor:
    """(B,) ``|score − Σ attributions|``, the completeness error of FullGrad from the first block on."""
    return (found.score - found.inputs[:, 0].sum(1) - found.biases.sum(1) - found.pooled_biases).abs()

"""Every backbone family that people explain, as a tiny random model: the rows of the matrix explainer × backbone."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import nn

from vitfaith.models.classifier import Classifier, build_backbone, freeze


class Variant(NamedTuple):
    """A timm model and the arguments that make it tiny.

    Attributes:
        family: what the documentation calls it.
        timm: name of the architecture.
        arguments: for its constructor.
        cells: for the classifier, of a model that has no patches.
    """

    family: str
    timm: str
    arguments: Mapping[str, Any]
    cells: Mapping[str, Any] = {}


SQUARE: dict[str, Any] = {"img_size": 16, "patch_size": 4, "num_classes": 5}
OBLONG: dict[str, Any] = {"img_size": (16, 24), "patch_size": 4, "num_classes": 5}
BODY: dict[str, Any] = {"embed_dim": 24, "depth": 3, "num_heads": 3, "mlp_ratio": 2.0}
WIDE: dict[str, Any] = BODY | {"embed_dim": 48}
"""Rotary embeddings need a head width that is a multiple of 4."""

TINY = OBLONG | BODY
ROTARY = OBLONG | WIDE


def _vit(**arguments: Any) -> Variant:
    return Variant("ViT", "vit_tiny_patch16_224", TINY | arguments)


BACKBONES: dict[str, Variant] = {
    "vit": _vit(),
    "vit_square": _vit(**SQUARE),
    "vit_registers": _vit(reg_tokens=4),
    "vit_gap": _vit(class_token=False, global_pool="avg"),
    "vit_class_token_unread": _vit(global_pool="avg"),
    "vit_avgmax": _vit(class_token=False, global_pool="avgmax"),
    "vit_map": _vit(class_token=False, global_pool="map"),
    "vit_unpooled_head": _vit(global_pool=""),
    "vit_qk_norm": _vit(qk_norm=True),
    "vit_layer_scale": _vit(init_values=0.1),
    "vit_norm_before_projection": _vit(scale_attn_norm=True),
    "vit_differential": _vit(attn_layer="diff", embed_dim=48),
    "distilled": Variant("DeiT", "deit_tiny_distilled_patch16_224", TINY),
    "deit3": Variant("DeiT3", "deit3_small_patch16_224", TINY),
    "dinov2": Variant("DINOv2", "vit_small_patch14_reg4_dinov2", TINY),
    "dinov3": Variant("DINOv3", "vit_small_patch16_dinov3", ROTARY | {"global_pool": "token"}),
    "parallel_xp": Variant("ViT, parallel scaling (xp)", "vit_base_patch16_xp_224", TINY),
    "parallel_18x2": Variant("ViT, parallel things (18x2)", "vit_small_patch16_18x2_224", TINY),
    "post_norm": Variant("ViT, post-norm (rpn)", "vit_base_patch16_rpn_224", TINY),
    "relpos": Variant("ViT, relative positions", "vit_relpos_small_patch16_224", TINY),
    "relpos_class_token": Variant("ViT, relative positions", "vit_relpos_base_patch16_cls_224", TINY),
    "relpos_post_norm": Variant("ViT, relative positions", "vit_relpos_small_patch16_rpn_224", TINY),
    "srelpos": Variant("ViT, relative positions", "vit_srelpos_small_patch16_224", TINY),
    "rope": Variant("ViT, rotary", "vit_small_patch16_rope_224", ROTARY),
    "rope_mixed": Variant("ViT, rotary", "vit_small_patch16_rope_mixed_224", ROTARY),
    "rope_gap": Variant("ViT, rotary", "vit_medium_patch16_rope_reg1_gap_256", ROTARY),
    "grouped_queries": Variant(
        "EVA, grouped queries", "vit_small_patch16_rope_224",
        ROTARY | {"num_heads": 4, "num_kv_heads": 2, "attn_type": "rope", "qkv_fused": False},
    ),
    "sapiens2": Variant(
        "Sapiens2", "vit_base_patch16_sapiens2", ROTARY | {"num_heads": 4, "num_kv_heads": (4, 2, 2)},
    ),
    "eva": Variant("EVA", "eva_giant_patch14_224", TINY),
    "eva_post_norm": Variant("EVA, post-norm", "eva_giant_patch14_224", TINY | {"use_post_norm": True}),
    "eva02": Variant("EVA02 (RoPE, SwiGLU)", "eva02_tiny_patch14_224", ROTARY),
    "eva02_sub_norm": Variant("EVA02 (sub-LN)", "eva02_base_patch14_224", ROTARY),
    "eva02_clip": Variant("EVA02-CLIP", "eva02_base_patch16_clip_224", ROTARY),
    "beit": Variant("BEiT", "beit_base_patch16_224", TINY),
    "beitv2": Variant("BEiTv2", "beitv2_base_patch16_224", TINY),
    "clip": Variant("CLIP", "vit_base_patch16_clip_quickgelu_224", TINY),
    "siglip": Variant("SigLIP", "vit_base_patch16_siglip_224", TINY),
    "siglip_gap": Variant("SigLIP", "vit_base_patch16_siglip_gap_224", TINY),
    "aimv2": Variant("AIMv2", "aimv2_large_patch14_224", TINY),
    "pe_core": Variant("PE-core", "vit_pe_core_base_patch16_224", ROTARY),
    "flexivit": Variant("FlexiViT", "flexivit_small", TINY),
    "cait": Variant("CaiT", "cait_xxs24_224", TINY),
    "convit": Variant("ConViT", "convit_tiny", SQUARE | {"embed_dim": 8, "depth": 3, "num_heads": 3, "local_up_to_layer": 2}),
    "sam": Variant(
        "SAM", "samvit_base_patch16_224",
        TINY | {"window_size": 2, "global_attn_indexes": (1,), "neck_chans": 12},
    ),
    "swin": Variant(
        "Swin", "swin_tiny_patch4_window7_224",
        {"img_size": (32, 48), "patch_size": 2, "window_size": 4, "embed_dim": 12, "depths": (1, 1), "num_heads": (2, 2), "num_classes": 5},
    ),
    "swinv2": Variant(
        "Swin V2", "swinv2_tiny_window8_256",
        {"img_size": 32, "patch_size": 2, "window_size": 4, "embed_dim": 12, "depths": (1, 1), "num_heads": (2, 2), "num_classes": 5},
    ),
    "pit": Variant("PiT", "pit_ti_224", {"img_size": (32, 48), "num_classes": 5}),
    "nest": Variant("NesT", "nest_tiny", {"img_size": 32, "num_classes": 5}),
    "xcit": Variant("XCiT", "xcit_nano_12_p16_224", {"img_size": (32, 48), "depth": 2, "embed_dim": 24, "num_heads": 3, "num_classes": 5}),
    "hiera": Variant(
        "Hiera", "hiera_tiny_224",
        {"img_size": (64, 96), "embed_dim": 8, "num_heads": 1, "stages": (1, 1, 1, 1), "num_classes": 5},
    ),
    "volo": Variant("VOLO", "volo_d1_224", {"img_size": (32, 48), "num_classes": 5}),
    "mvitv2": Variant("MViTv2", "mvitv2_tiny", {"img_size": 64, "num_classes": 5}),
    "naflexvit": Variant("NaFlexViT", "naflexvit_base_patch16_gap", TINY),
    "naflexvit_map": Variant("NaFlexViT", "naflexvit_base_patch16_map", TINY),
    "mixer": Variant("MLP-Mixer", "mixer_s32_224", {"img_size": (64, 96), "num_classes": 5}),
    "gmlp": Variant("gMLP", "gmlp_ti16_224", {"img_size": 32, "num_classes": 5}),
    "resnet": Variant("ResNet, patch given", "resnet10t", {"num_classes": 5}, {"patch_size": (8, 8), "input_size": (32, 48)}),
    "resnet_without_patch": Variant("ResNet, no patch given", "resnet10t", {"num_classes": 5}),
}  # fmt: skip


def build(variant: Variant) -> nn.Module:
    """The timm model with random weights, every parameter moved off its start; factors of LayerScale have both signs."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        backbone = build_backbone(variant.timm, variant.arguments)
        for name, parameter in backbone.named_parameters():
            parameter.data.add_(0.1 * torch.randn_like(parameter))
            if name.rpartition(".")[2].startswith("gamma"):
                parameter.data.copy_(0.5 * torch.randn_like(parameter))
    return backbone


def classifier_of(variant: Variant) -> Classifier:
    """The frozen classifier of :func:`build`."""
    return freeze(Classifier(build(variant), [0.5] * 3, [0.25] * 3, **variant.cells))


@cache
def double(name: str) -> Classifier:
    """The backbone ``name`` in double precision, built once."""
    return classifier_of(BACKBONES[name]).double()

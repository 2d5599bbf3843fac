"""Tiny random models that differ in everything a shared pass could trip over: tokens, pooling, grid, attention."""

from __future__ import annotations

from functools import cache

import torch

from tests.conftest import tiny_vit
from vitfaith.models.classifier import Classifier, build_backbone, freeze

TINY = {
    "img_size": 16, "patch_size": 4, "embed_dim": 24, "depth": 3, "num_heads": 3, "mlp_ratio": 2.0, "num_classes": 5,
}  # fmt: skip


def tiny(name: str, **arguments: object) -> Classifier:
    """A random timm model ``name``, every parameter moved off its initial zero."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        backbone = build_backbone(name, arguments)
        for parameter in backbone.parameters():
            parameter.data.add_(0.1 * torch.randn_like(parameter))
    return freeze(Classifier(backbone, [0.5] * 3, [0.25] * 3))


BUILDERS = {
    "class_token": tiny_vit,
    "registers": lambda: tiny_vit(reg_tokens=4),
    "average_pool": lambda: tiny_vit(class_token=False, global_pool="avg"),
    "class_token_unread": lambda: tiny_vit(global_pool="avg"),
    "registers_average_pool": lambda: tiny_vit(class_token=False, reg_tokens=4, global_pool="avg"),
    "distilled": lambda: tiny("deit_tiny_distilled_patch16_224", **TINY),
    "layer_scale": lambda: tiny_vit(init_values=0.1),
    "dinov2": lambda: tiny("vit_small_patch14_reg4_dinov2", **TINY),
    "query_key_norm": lambda: tiny_vit(qk_norm=True),
    "oblong": lambda: tiny_vit(img_size=(16, 24)),
    "norm_before_projection": lambda: tiny_vit(scale_attn_norm=True),
    "attention_pool": lambda: tiny_vit(class_token=False, global_pool="map"),
    "rotary": lambda: tiny(
        "eva02_tiny_patch14_224",
        **{**TINY, "embed_dim": 48},
        use_rot_pos_emb=True,
        init_values=0.1,
        global_pool="token",
    ),
    "perception_encoder": lambda: tiny("vit_pe_core_base_patch16_224", **TINY),
    "position_bias": lambda: tiny("beit_base_patch16_224", **TINY, use_rel_pos_bias=True, use_abs_pos_emb=False),
}
UNSUPPORTED = {"tokentm": {"norm_before_projection"}}
"""Explainer → models on which it says so with an InputError."""


@cache
def model(name: str) -> Classifier:
    """The model ``name``, built once."""
    return BUILDERS[name]()


@cache
def swin() -> Classifier:
    """A hierarchical model: windows, merged patches, no class token."""
    return tiny("swin_tiny_patch4_window7_224", img_size=32, patch_size=2, window_size=4, embed_dim=12, depths=(1, 1),
                num_heads=(2, 2), num_classes=5)  # fmt: skip


@cache
def resnet() -> Classifier:
    """A model without patches."""
    return tiny("resnet10t", num_classes=5)


def batch(classifier: Classifier, count: int = 4) -> tuple[torch.Tensor, torch.Tensor, list[str]]:
    """Images, targets and ids that fit ``classifier``."""
    generator = torch.Generator().manual_seed(7)
    images = torch.rand(count, *classifier.input_shape, generator=generator)
    return images, torch.arange(count) % classifier.num_classes, [f"image-{i}" for i in range(count)]

"""Classes of transformers that can and cannot be converted."""

from __future__ import annotations

from vitfaith.models.huggingface.beit import BEIT
from vitfaith.models.huggingface.common import Conversion
from vitfaith.models.huggingface.swin import SWIN, SWINV2
from vitfaith.models.huggingface.tower import CLIP, SIGLIP, SIGLIP2
from vitfaith.models.huggingface.vit import DEIT, DEIT_TEACHER, DINOV2, DINOV2_REGISTERS, VIT

KINDS: dict[str, Conversion] = {
    "ViTForImageClassification": VIT,
    "DeiTForImageClassification": DEIT,
    "DeiTForImageClassificationWithTeacher": DEIT_TEACHER,
    "Dinov2ForImageClassification": DINOV2,
    "Dinov2WithRegistersForImageClassification": DINOV2_REGISTERS,
    "BeitForImageClassification": BEIT,
    "CLIPForImageClassification": CLIP,
    "SiglipForImageClassification": SIGLIP,
    "Siglip2ForImageClassification": SIGLIP2,
    "SwinForImageClassification": SWIN,
    "Swinv2ForImageClassification": SWINV2,
}
"""Class name in transformers → its conversion into a timm model."""

_DINOV3 = (
    "transformers has no classifier of DINOv3, only the network before a head; put your head on timm's network "
    "(vit_base_patch16_dinov3 and its kin, with num_classes) and give its weights"
)
INSTEAD: dict[str, str] = {"DINOv3ViTModel": _DINOV3, "DINOv3ViTBackbone": _DINOV3}
"""Alternatives to classes without logits."""

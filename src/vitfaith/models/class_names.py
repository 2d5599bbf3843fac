"""Names of a pretrained model's classes, from what timm stores with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vitfaith.models.fast.compiler import without_compiler

with without_compiler():
    from timm.data.imagenet_info import ImageNetInfo, infer_imagenet_subset


def class_names(pretrained_cfg: Mapping[str, Any], classes: int) -> tuple[str, ...]:
    """The names in the order of the labels; empty unless the head is the pretrained one.

    timm stores them for few models; heads of ImageNet's subsets are known by their number of classes.

    Args:
        pretrained_cfg: of the model, as timm has it.
        classes: outputs of the head in use.
    """
    if pretrained_cfg.get("num_classes") != classes:
        return ()
    stored = pretrained_cfg.get("label_names")
    if stored:
        described = pretrained_cfg.get("label_descriptions") or {}
        return tuple(str(described.get(name, name)) for name in stored)
    subset = infer_imagenet_subset(dict(pretrained_cfg))
    return () if subset is None else tuple(ImageNetInfo(subset).label_descriptions())

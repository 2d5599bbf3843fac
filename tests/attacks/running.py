"""Attacks on a few images, as the stage calls them."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from vitfaith.attacks.registry import ATTACKS
from vitfaith.attacks.run import AttackResult, attack_images
from vitfaith.models.classifier import Classifier


def run(
    vit: Classifier, pixels: Tensor, predicted: Tensor, name: str, parameters: dict[str, Any], **more: Any
) -> AttackResult:
    ids = [f"image-{i}" for i in range(len(pixels))]
    return attack_images(vit, pixels, predicted, ids, ATTACKS.item(name, **parameters), **{"seed": 7, **more})

"""Stored outputs of Chefer et al.'s own code, run image by image in float64 on a network that is stored with them."""

from __future__ import annotations

from functools import cache, partial
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from tests.explainers.oracles.base import Oracle, Pair
from tests.explainers.textbook.path import in_patches
from tests.explainers.zoo import tiny
from vitfaith.explainers.passes.context import Context
from vitfaith.explainers.registry import EXPLAINERS
from vitfaith.models.classifier import Classifier, freeze

GOLDEN = Path(__file__).parents[2] / "data" / "relevance.safetensors"

NAMES = {
    "raw_attention": "raw_attention",
    "lrp": "lrp_pixels",
    "partial_lrp": "partial_lrp",
    "transformer_attribution": "transformer_attribution",
    "lrp_rollout": "lrp_relevance_rollout",
}
"""Explainer → stored map."""


@cache
def golden() -> tuple[Classifier, dict[str, Tensor]]:
    """The reference network, which takes its images as they are, and all stored arrays."""
    arrays = load_file(GOLDEN)
    plain = tiny("vit_base_patch16_224", img_size=32, patch_size=8, embed_dim=48, depth=4, num_heads=4, num_classes=10)
    state = {key.removeprefix("weights."): v for key, v in arrays.items() if key.startswith("weights.")}
    plain.backbone.load_state_dict(state)
    return freeze(Classifier(plain.backbone, [0.0] * 3, [1.0] * 3)), arrays


def stored_map(name: str) -> Pair:
    classifier, arrays = golden()
    entry = EXPLAINERS[name]
    context = Context(classifier, arrays["images"], arrays["target"], list("abcd"), needs=entry.traits["needs"])
    expected = arrays[f"map.{NAMES[name]}"]
    if name == "lrp":
        expected = torch.stack([in_patches(pixels, (4, 4)) for pixels in expected])
    return entry.implementation(context, entry.parameters()), expected


def stored_logits() -> Pair:
    classifier, arrays = golden()
    with torch.no_grad():
        return classifier(arrays["images"]), arrays["logits"]


AUTHORS = "code of Chefer et al. 2021"
ORACLES = [
    *[Oracle(name, AUTHORS, "stored output, float64", 1e-6, partial(stored_map, name)) for name in NAMES],
    Oracle("(logits)", AUTHORS, "stored output, float64", 1e-6, stored_logits),
]

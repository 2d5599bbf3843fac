"""DINOv2's head: equal to timm's own pooling where one half of it is zero, also for what explains it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.conftest import tiny_vit
from vitfaith.errors import InputError
from vitfaith.explainers.explain import explain
from vitfaith.models.classifier import Classifier, freeze
from vitfaith.models.pair_pooled import PairPooledViT
from vitfaith.registries import REGISTRIES
from vitfaith.registry import Item

REFUSED = {"legrad"}
ARGUMENTS = {
    **{"img_size": 16, "patch_size": 4, "embed_dim": 24, "depth": 3, "num_heads": 3, "mlp_ratio": 2.0, "reg_tokens": 2},
}


def twins(half: str) -> tuple[Classifier, Classifier]:
    """A model with the pair's head, one half of it zero, and timm's with the other half as its head."""
    pooling = {"class_token": True, "global_pool": "token" if half == "token" else "avg", "fc_norm": False}
    plain = tiny_vit(reg_tokens=2, **pooling)
    pair = PairPooledViT(num_classes=5, **ARGUMENTS)
    state = plain.backbone.state_dict()
    weight = state["head.weight"]
    zero = torch.zeros_like(weight)
    state["head.weight"] = torch.cat([weight, zero] if half == "token" else [zero, weight], dim=1)
    pair.load_state_dict(state)
    return freeze(Classifier(pair, [0.5] * 3, [0.25] * 3)), plain


@pytest.mark.parametrize("half", ["token", "avg"])
def test_logits(half: str, images: Tensor) -> None:
    pair, plain = twins(half)
    assert torch.allclose(pair(images), plain(images), atol=1e-6)
    assert (pair.prefix_tokens, pair.num_classes) == (3, 5)


def test_every_explainer(images: Tensor, targets: Tensor, image_ids: list[str]) -> None:
    """A head that reads the class token alone is explained as timm's; what has no rule for the pair says so."""
    pair, plain = twins("token")
    compared = 0
    for entry in REGISTRIES["explainers"]:
        if entry.traits["family"] in ("external", "learned", "perturbation") or entry.traits.get("model_files"):
            continue
        methods = {entry.name: Item(entry, entry.parameters())}
        arguments = (images[:2], targets[:2], image_ids[:2], methods)
        if entry.name in REFUSED:
            with pytest.raises(InputError, match="PairPooledViT"):
                explain(pair, *arguments, seed=0, batch_size=8)
            continue
        found = explain(pair, *arguments, seed=0, batch_size=8)[entry.name]
        expected = explain(plain, *arguments, seed=0, batch_size=8)[entry.name]
        assert torch.allclose(found, expected, atol=1e-5 * float(expected.abs().max())), entry.name
        compared += 1
    assert compared >= 15

"""TAM and Beyond Intuition: textbook loops on several models, and what the models must have."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.conftest import tiny_vit
from tests.explainers.cases import finite
from tests.explainers.textbook import path as textbook
from vitfaith.errors import ConfigError, InputError
from vitfaith.explainers.beyond_intuition import beyond_intuition_head, beyond_intuition_token
from vitfaith.explainers.passes.context import Context
from vitfaith.explainers.passes.path_pass import BlockPathParameters
from vitfaith.explainers.registry import EXPLAINERS
from vitfaith.models.classifier import Classifier

NAMES = ("tam", "beyond_intuition_head", "beyond_intuition_token")


def make(
    classifier: Classifier, images: Tensor, targets: Tensor, ids: list[str], *methods: str, **settings: Any
) -> Context:
    needs = frozenset(need for name in methods for need in EXPLAINERS[name].traits["needs"])
    return Context(classifier, images, targets, ids, needs=needs, **settings)


@pytest.mark.parametrize("registers", [0, 2])
@pytest.mark.parametrize("start", [0, 1])
def test_attention_methods_equal_the_textbook_loops(
    images: Tensor, targets: Tensor, image_ids: list[str], registers: int, start: int
) -> None:
    classifier = tiny_vit(3, reg_tokens=registers)
    context = make(classifier, images, targets, image_ids, *NAMES, batch_size=8)
    parameters = BlockPathParameters(steps=4, rule="uniform", baseline="model_mean", start=start)
    ours = {name: EXPLAINERS[name].implementation(context, parameters) for name in NAMES}
    for i in range(2):
        reference = textbook.Reference(classifier, images[i], int(targets[i]))
        line = textbook.line(classifier, images[i], int(targets[i]), 4)
        prefix = 1 + registers
        expected = {
            "tam": textbook.tam(reference, line, prefix, start),
            "beyond_intuition_head": textbook.beyond_intuition(
                textbook.head_transitions(reference)[start:], line, prefix
            ),
            "beyond_intuition_token": textbook.beyond_intuition(
                textbook.token_transitions(reference)[start:], line, prefix
            ),
        }
        for name in NAMES:
            error = (ours[name][i].double() - expected[name]).abs().max() / expected[name].abs().max()
            assert float(error) < 1e-5, name


@pytest.mark.parametrize(
    "overrides",
    [
        {"class_token": False, "global_pool": "avg"},
        {"class_token": False, "global_pool": "avg", "reg_tokens": 3},
        {"img_size": (16, 24)},
        {"qkv_bias": False, "init_values": 0.5},
        {"fused": False},
    ],
    ids=["pooled", "pooled-registers", "wide", "layer-scale", "unfused"],
)
def test_other_models(targets: Tensor, image_ids: list[str], overrides: dict[str, Any]) -> None:
    overrides = dict(overrides)
    fused = overrides.pop("fused", True)
    classifier = tiny_vit(1, **overrides)
    for block in classifier.backbone.blocks:
        block.attn.fused_attn = fused
    images = torch.rand(5, *classifier.input_shape, generator=torch.Generator().manual_seed(3))
    context = make(classifier, images, targets, image_ids, *NAMES)
    for name in NAMES:
        maps = EXPLAINERS[name].implementation(context, BlockPathParameters(steps=5, rule="uniform"))
        assert maps.shape == (5, *classifier.grid)
        assert finite(maps)
        assert float(maps.std()) > 0


def test_pooled_models_average_over_the_rows_they_read(images: Tensor, targets: Tensor, image_ids: list[str]) -> None:
    classifier = tiny_vit(1, class_token=False, global_pool="avg")
    context = make(classifier, images, targets, image_ids, "beyond_intuition_head")
    ours = beyond_intuition_head(context, BlockPathParameters(steps=3, rule="uniform"))
    reference = textbook.Reference(classifier, images[0], int(targets[0]))
    line = textbook.line(classifier, images[0], int(targets[0]), 3)
    relation = torch.eye(16, dtype=torch.float64)
    for transition in textbook.head_transitions(reference):
        relation = relation + transition @ relation
    gradient = (sum(r.attention_gradient[-1] for r in line) / 3).clamp(min=0).mean(0)
    expected = (relation * gradient).mean(0).view(4, 4)
    assert float((ours[0] - expected).abs().max() / expected.abs().max()) < 1e-5


def test_start_must_exist(vit: Classifier, images: Tensor, targets: Tensor, image_ids: list[str]) -> None:
    for name in NAMES:
        with pytest.raises(ConfigError, match="blocks 0 to 2"):
            EXPLAINERS[name].implementation(
                make(vit, images, targets, image_ids, name), BlockPathParameters(steps=1, start=3)
            )


def test_token_weights_need_an_output_projection(images: Tensor, targets: Tensor, image_ids: list[str]) -> None:
    classifier = tiny_vit()
    block = classifier.backbone.blocks[1]
    projection, block.attn.proj = block.attn.proj, None
    block.attn.proj = nn.Sequential(projection)
    with pytest.raises(InputError, match=r"attn\.proj, which block 1"):
        beyond_intuition_token(
            make(classifier, images, targets, image_ids, "beyond_intuition_token"), BlockPathParameters(steps=1)
        )

"""The shortened last block: the same logits, only where they depend on the class token alone, and no trace afterwards."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.conftest import tiny_vit
from vitfaith.models.fast.class_token import class_token_alone
from vitfaith.models.passes import PassCounter


@pytest.mark.parametrize(
    "overrides",
    [
        {},
        {"qk_norm": True},
        {"init_values": 0.3},
        {"scale_attn_norm": True, "scale_mlp_norm": True},
        {"reg_tokens": 2},
        {"qkv_bias": False},
        {"pre_norm": True, "fc_norm": True},
    ],
    ids=str,
)
def test_logits_are_the_same(overrides: dict[str, Any], images: Tensor) -> None:
    vit = tiny_vit(**overrides)
    rows: list[int] = []
    with torch.inference_mode():
        expected = vit(images)
        with class_token_alone(vit) as shortened, PassCounter(vit.backbone) as passes:
            assert shortened
            handle = vit.backbone.norm.register_forward_hook(lambda _m, inputs, _o: rows.append(inputs[0].shape[1]))  # type: ignore[union-attr]
            found = vit(images)
            handle.remove()
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
        assert rows == [1]
        assert passes.forwards == len(images)
        torch.testing.assert_close(vit(images), expected, rtol=0, atol=0)
    assert not any("forward" in module.__dict__ for module in vit.modules())


def test_it_is_undone_after_an_error(vit: Any, images: Tensor) -> None:
    with pytest.raises(ZeroDivisionError), class_token_alone(vit):
        raise ZeroDivisionError
    assert not any("forward" in module.__dict__ for module in vit.modules())


@pytest.mark.parametrize("overrides", [{"global_pool": "avg"}, {"global_pool": "map", "class_token": False}], ids=str)
def test_other_pooling_is_left_alone(overrides: dict[str, Any], images: Tensor) -> None:
    vit = tiny_vit(**overrides)
    with torch.inference_mode():
        expected = vit(images)
        with class_token_alone(vit) as shortened:
            assert not shortened
            torch.testing.assert_close(vit(images), expected, rtol=0, atol=0)


def test_blocks_that_others_look_into_are_left_alone() -> None:
    hooked = tiny_vit()
    hooked.backbone.blocks[-1].attn.register_forward_hook(lambda *_: None)  # type: ignore[index,union-attr]
    training = tiny_vit()
    training.backbone.train()
    replaced = tiny_vit()
    replaced.backbone.blocks[-1].attn = nn.Identity()  # type: ignore[index,union-attr]
    for vit in (hooked, training, replaced):
        with class_token_alone(vit) as shortened:
            assert not shortened


def test_nested_use_shortens_once(vit: Any, images: Tensor) -> None:
    with torch.inference_mode():
        expected = vit(images)
        with class_token_alone(vit) as outer, class_token_alone(vit) as inner:
            assert outer
            assert not inner
            torch.testing.assert_close(vit(images), expected, rtol=1e-5, atol=1e-6)


def test_attention_of_an_older_timm_has_no_gate() -> None:
    vit = tiny_vit()
    del vit.backbone.blocks[-1].attn.gate  # type: ignore[union-attr]
    with class_token_alone(vit) as shortened:
        assert shortened

"""The shared pass against autograd through unfused attention, on every kind of model."""

from __future__ import annotations

from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn

from tests.conftest import tiny_vit
from tests.explainers.autograd import close, reference, unfused
from tests.explainers.zoo import BUILDERS, batch, model, swin
from vitfaith.errors import InputError
from vitfaith.explainers.passes.capture import Capture, Need
from vitfaith.explainers.passes.shared_pass import run_capture
from vitfaith.models.classifier import Classifier, freeze
from vitfaith.models.passes import PassCounter

EVERYTHING: frozenset[Need] = frozenset(get_args(Need))


@pytest.mark.parametrize("name", BUILDERS)
def test_the_capture_equals_autograd_through_unfused_attention(name: str) -> None:
    classifier = model(name)
    images, targets, _ = batch(classifier)
    capture = run_capture(classifier, images, targets, EVERYTHING)
    expected = reference(classifier, images, targets)
    prefix = classifier.prefix_tokens
    assert capture.depth == len(expected["attention"]) == 3
    for layer in range(3):
        close(capture.attention(layer), expected["attention"][layer].detach())
        close(capture.attention_gradient(layer), expected["attention_gradient"][layer])
        close(capture.attention_scores(layer).softmax(-1), expected["attention"][layer].detach())
    for layer in range(4):
        close(capture.hidden(layer), expected["hidden"][layer].detach())
        close(capture.hidden_gradient(layer), expected["hidden_gradient"][layer])
    close(capture.features, expected["norm1"][0].detach()[:, prefix:])
    close(capture.features_gradient, expected["norm1_gradient"][0][:, prefix:])
    close(capture.input_gradient, expected["input_gradient"][0])
    close(capture.logits, classifier(images))


@pytest.mark.parametrize("name", ["class_token", "query_key_norm", "position_bias", "rotary"])
def test_a_model_with_unfused_attention_is_read_at_its_softmax(name: str) -> None:
    classifier = model(name)
    images, targets, _ = batch(classifier)
    fused = run_capture(classifier, images, targets, EVERYTHING)
    with unfused(classifier):
        plain = run_capture(classifier, images, targets, EVERYTHING)
    for layer in range(3):
        close(plain.attention(layer), fused.attention(layer))
        close(plain.attention_scores(layer), fused.attention_scores(layer))
        close(plain.attention_gradient(layer), fused.attention_gradient(layer))
        close(plain.layer_score_gradient(layer), fused.layer_score_gradient(layer))


def test_rows_are_cut_before_the_matrix_is_formed(vit: Classifier, images: Tensor, targets: Tensor) -> None:
    capture = run_capture(vit, images, targets, EVERYTHING)
    rows = slice(2, 5)
    for read in (capture.attention, capture.attention_scores, capture.attention_gradient, capture.layer_score_gradient):
        close(read(1, rows), read(1)[:, :, rows])
        close(read(-1), read(2))


def test_rows_of_a_position_bias_follow_the_queries() -> None:
    classifier = model("position_bias")
    images, targets, _ = batch(classifier)
    capture = run_capture(classifier, images, targets, EVERYTHING)
    close(capture.attention(1, slice(2, 5)), capture.attention(1)[:, :, 2:5])


@pytest.mark.parametrize(
    ("name", "readout", "prefix"),
    [
        ("class_token", [0], 1),
        ("registers", [0], 5),
        ("average_pool", range(16), 0),
        ("class_token_unread", range(1, 17), 1),
        ("registers_average_pool", range(4, 20), 4),
        ("distilled", [0, 1], 2),
        ("attention_pool", range(16), 0),
        ("oblong", [0], 1),
        ("perception_encoder", range(17), 1),
    ],
)
def test_the_readout_is_what_the_head_reads(name: str, readout: list[int], prefix: int) -> None:
    """Only read-out rows of the last block's output reach the logit: their gradient says so."""
    classifier = model(name)
    images, targets, _ = batch(classifier)
    capture = run_capture(classifier, images, targets, EVERYTHING)
    touched = capture.hidden_gradient(capture.depth).abs().sum((0, 2)) > 0
    assert touched.nonzero()[:, 0].tolist() == list(readout)
    assert list(range(capture.tokens))[capture.readout] == list(readout)
    assert capture.prefix_tokens == prefix
    assert capture.tokens == capture.hidden(0).shape[1]


def test_to_grid_drops_prefix_tokens_and_keeps_row_order() -> None:
    capture = run_capture(model("oblong"), *batch(model("oblong"))[:2], frozenset({"logits"}))
    grid = capture.to_grid(torch.arange(25.0).expand(2, 25))
    assert grid.shape == (2, 4, 6)
    assert grid[0, 1, 0] == 7  # token 0 is the class, the second row of six starts after 6 patches
    assert torch.equal(capture.to_grid(torch.arange(1.0, 25).expand(2, 24)), grid)
    with pytest.raises(InputError, match="26 tokens"):
        capture.to_grid(torch.zeros(2, 26))


@pytest.mark.parametrize(
    ("needs", "backwards"),
    [
        ({"attention", "hidden", "value"}, 0),
        (set(), 0),
        ({"input_gradient"}, 4),
        (EVERYTHING, 4),
        ({"layer_scores"}, 0),
    ],
)
def test_one_forward_and_a_backward_only_where_a_gradient_is_needed(needs: Any, backwards: int) -> None:
    classifier = model("class_token")
    images, targets, _ = batch(classifier)
    with PassCounter(classifier.backbone) as passes:
        run_capture(classifier, images, targets, needs)
    assert (passes.forwards, passes.backwards) == (4, backwards)


def hooks_of(module: nn.Module) -> int:
    """Hooks of all kinds below ``module``."""
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return sum(len(getattr(part, kind)) for part in module.modules() for kind in kinds)


def test_hooks_go_even_when_the_model_fails(images: Tensor, targets: Tensor) -> None:
    classifier = tiny_vit()
    classifier.backbone.head.forward = lambda _: 1 / 0  # type: ignore[method-assign]
    with pytest.raises(ZeroDivisionError):
        run_capture(classifier, images, targets, EVERYTHING)
    assert hooks_of(classifier) == 0


def test_parameters_that_require_gradients_get_none(images: Tensor, targets: Tensor) -> None:
    classifier = tiny_vit().requires_grad_(True)
    run_capture(classifier, images, targets, EVERYTHING)
    assert all(p.grad is None and p.requires_grad for p in classifier.parameters())


@pytest.mark.parametrize("guard", [torch.no_grad, torch.inference_mode])
def test_the_callers_mode_does_not_matter(vit: Classifier, images: Tensor, targets: Tensor, guard: Any) -> None:
    expected = run_capture(vit, images, targets, EVERYTHING)
    with guard():
        found = run_capture(vit, images.clone(), targets.clone(), EVERYTHING)
    for read in (Capture.attention_gradient, Capture.layer_score_gradient, Capture.hidden_gradient):
        assert torch.equal(read(found, 1), read(expected, 1))
    assert not found.input_gradient.is_inference()


def test_callers_images_are_left_alone(vit: Classifier, images: Tensor, targets: Tensor) -> None:
    before = images.clone()
    run_capture(vit, images, targets, EVERYTHING)
    assert torch.equal(images, before)
    assert not images.requires_grad


def test_errors_name_the_argument(vit: Classifier, images: Tensor, targets: Tensor) -> None:
    nan = images.clone()
    nan[1, 0, 3, 3] = float("nan")
    with pytest.raises(InputError, match="NaN"):
        run_capture(vit, nan, targets, EVERYTHING)
    with pytest.raises(InputError, match="classes 0 to 4"):
        run_capture(vit, images, targets + 4, EVERYTHING)
    with pytest.raises(InputError, match="one int64 class"):
        run_capture(vit, images, targets.float(), EVERYTHING)
    with pytest.raises(InputError, match="images of shape"):
        run_capture(vit, images[..., :8], targets, EVERYTHING)
    with pytest.raises(InputError, match="training mode"):
        run_capture(freeze(tiny_vit()).train(), images, targets, EVERYTHING)
    capture = run_capture(vit, images, targets, frozenset({"attention"}))
    with pytest.raises(InputError, match="kept no 'attention_gradient'"):
        capture.attention_gradient(0)
    with pytest.raises(InputError, match="blocks 0 to 2"):
        capture.attention(3)


def test_a_model_without_blocks_names_what_still_works() -> None:
    classifier = swin()
    images, targets, _ = batch(classifier)
    with pytest.raises(InputError, match=r"SwinTransformer has no sequence of transformer blocks.*input_x_gradient"):
        run_capture(classifier, images, targets, frozenset({"attention"}))
    capture = run_capture(classifier, images, targets, frozenset({"input_gradient"}))
    assert capture.input_gradient.abs().sum() > 0


def test_a_block_with_two_attentions_is_refused() -> None:
    classifier = tiny_vit(block_fn=__import__("timm").models.vision_transformer.ParallelThingsBlock)
    images, targets, _ = batch(classifier)
    with pytest.raises(InputError, match="made 2 self-attention calls"):
        run_capture(classifier, images, targets, EVERYTHING)

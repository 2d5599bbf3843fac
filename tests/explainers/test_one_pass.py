"""One-pass explainers against textbook loops, with all their parameters and on models of every kind."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from tests.conftest import tiny_vit
from tests.explainers.autograd import arrays, close, legrad, pixel_gradients, pooled_legrad
from tests.explainers.oracles.base import maps
from tests.explainers.textbook import attention as textbook
from tests.explainers.zoo import batch, model
from vitfaith.errors import ConfigError, InputError
from vitfaith.explainers.explain import explain
from vitfaith.explainers.passes.shared_pass import run_capture
from vitfaith.explainers.registry import EXPLAINERS

MODELS = ["class_token", "registers", "average_pool", "distilled", "layer_scale", "oblong", "class_token_unread"]


def check(name: str, found: Tensor, loops: Any, tolerance: float = 2e-5) -> None:
    """``found`` equals ``loops(arrays, rows)`` on the patches of every image."""
    classifier = model(name)
    images, rows = arrays(name)
    rows_, columns = classifier.grid
    expected = [np.asarray(loops(image, rows))[-rows_ * columns :].reshape(rows_, columns) for image in images]
    close(found, torch.from_numpy(np.stack(expected)), tolerance)


@pytest.mark.parametrize("name", MODELS)
def test_attention_methods_equal_their_textbook_loops(name: str) -> None:
    classifier = model(name)
    prefix = classifier.prefix_tokens
    check(name, maps(classifier, "raw_attention"), textbook.raw_attention)
    check(name, maps(classifier, "attention_rollout"), textbook.rollout)
    check(name, maps(classifier, "grad_attention_rollout"), textbook.grad_rollout)
    check(name, maps(classifier, "transformer_mm"), textbook.transformer_mm)
    gradcam = maps(classifier, "attention_gradcam")
    check(name, gradcam, lambda a, rows: textbook.attention_gradcam(a, rows, prefix=prefix))
    check(name, maps(classifier, "attcat"), textbook.attcat)
    check(name, maps(classifier, "agcam"), textbook.agcam)
    check(name, maps(classifier, "tokentm"), textbook.tokentm)


FUSIONS = {"mean": np.mean, "max": np.max, "min": np.min}


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize(("ratio", "start"), [(0.0, 1), (0.3, 0), (0.9, 0)])
def test_rollout_parameters(fusion: str, ratio: float, start: int) -> None:
    found = maps(model("class_token"), "attention_rollout", head_fusion=fusion, discard_ratio=ratio, start_layer=start)
    fuse = FUSIONS[fusion]
    check("class_token", found, lambda a, rows: textbook.rollout(a, rows, fuse=fuse, ratio=ratio, start=start))
    layer = maps(model("class_token"), "raw_attention", head_fusion=fusion, layer=start)
    check("class_token", layer, lambda a, rows: textbook.raw_attention(a, rows, layer=start, fuse=fuse))


def test_discarding_everything_leaves_the_class_tokens_column_and_the_residual() -> None:
    """With nearly all entries gone, patches keep themselves, so the class token's row holds nothing of them."""
    assert maps(model("class_token"), "attention_rollout", discard_ratio=0.999).abs().max() <= 0.05
    assert maps(model("class_token"), "attention_rollout", discard_ratio=0.0).min() > 0.01


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("ratio", [0.0, 0.3])
def test_gradient_rollout_parameters(before: bool, ratio: float) -> None:
    clamp = "before_mean" if before else "after_mean"
    found = maps(model("class_token"), "grad_attention_rollout", clamp=clamp, discard_ratio=ratio)
    check("class_token", found, lambda a, rows: textbook.grad_rollout(a, rows, before=before, ratio=ratio))


def test_start_layer_and_states() -> None:
    for start in (1, -2):
        found = maps(model("class_token"), "transformer_mm", start_layer=start)
        check("class_token", found, lambda a, rows: textbook.transformer_mm(a, rows, start=1))
    found = maps(model("class_token"), "attcat", states="output")
    check("class_token", found, lambda a, rows: textbook.attcat(a, rows, shift=1))


@pytest.mark.parametrize("method", ["attention_rollout", "transformer_mm", "grad_attention_rollout", "legrad"])
def test_a_start_layer_past_the_end_names_the_depth(method: str) -> None:
    with pytest.raises(ConfigError, match=f"{method}: start_layer is 3, but the model has 3 blocks"):
        maps(model("class_token"), method, start_layer=3)


def test_a_start_layer_before_the_first_names_the_depth() -> None:
    with pytest.raises(ConfigError, match="start_layer is -4, but the model has 3 blocks"):
        maps(model("class_token"), "transformer_mm", start_layer=-4)


CAMS = ["token_gradcam", "token_hirescam", "token_layercam", "token_xgradcam", "token_eigencam"]


@pytest.mark.parametrize("method", CAMS)
@pytest.mark.parametrize("name", ["class_token", "registers", "average_pool", "oblong"])
def test_token_cams_equal_their_textbook_loops(name: str, method: str) -> None:
    def loops(a: Any, _rows: list[int]) -> NDArray[np.float64]:
        return textbook.token_cam(a["features"], a["features_gradient"], method)

    signed = maps(model(name), method, clamp=False)
    # XGrad-CAM divides by sums that cancel, which amplifies the rounding of a float32 model.
    check(name, signed, loops, 5e-4 if method == "token_xgradcam" else 2e-5)
    assert torch.equal(maps(model(name), method), signed.clamp_min(0))


@pytest.mark.parametrize("name", ["class_token", "registers_average_pool", "distilled"])
@pytest.mark.parametrize("start", [0, 2])
def test_legrad_equals_one_backward_for_each_layer(name: str, start: int) -> None:
    close(maps(model(name), "legrad", start_layer=start), legrad(name, start))


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("start", [0, 2])
@pytest.mark.parametrize(
    "tokens",
    [
        {"class_token": False},
        {"class_token": False, "reg_tokens": 2},
        {"class_token": False, "reg_tokens": 2, "pool_include_prefix": True},
        {"img_size": (16, 24)},
    ],
    ids=["patches", "registers", "registers pooled too", "class token, oblong"],
)
def test_legrad_of_attention_pooling_reads_the_poolers_attention(tokens: Any, start: int, norm: bool) -> None:
    classifier = tiny_vit(global_pool="map", **tokens)
    found = maps(classifier, "legrad", start_layer=start, pooler_norm=norm)
    close(found, pooled_legrad(classifier, start=start, norm=norm))
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in classifier.modules())


@pytest.mark.parametrize("norm", [False, True])
def test_legrad_of_a_pooler_that_reads_the_class_token_too(norm: bool) -> None:
    classifier = model("perception_encoder")
    close(maps(classifier, "legrad", pooler_norm=norm), pooled_legrad(classifier, norm=norm))


def test_legrad_of_attention_pooling_is_not_the_blocks_attention() -> None:
    classifier = model("attention_pool")
    assert not torch.allclose(maps(classifier, "legrad"), maps(classifier, "legrad", pooler_norm=True), rtol=1e-2)
    images, targets, _ = batch(classifier)
    capture = run_capture(classifier, images, targets, {"layer_scores"})
    with pytest.raises(InputError, match="pools by learned queries"):
        capture.layer_score_gradient(0)


@pytest.mark.parametrize("name", ["class_token", "oblong"])
def test_pixel_methods_equal_loops_over_patches_and_pixels(name: str) -> None:
    expected = pixel_gradients(name)
    for channels in ("max", "mean"):
        close(maps(model(name), "saliency", channels=channels), expected[channels])
    for zero in ("black", "model_mean"):
        close(maps(model(name), "input_x_gradient", zero=zero), expected[zero])


def test_random_levels() -> None:
    """Patches are uniform; the mean over 16 pixels of a patch gathers around one half with σ = 1/√(12·16)."""
    ids = [f"image-{i}" for i in range(300)]
    classifier = model("class_token")
    images, targets = torch.rand(300, 3, 16, 16), torch.zeros(300, dtype=torch.int64)
    methods = {level: EXPLAINERS.item("random", level=level) for level in ("patch", "pixel")}
    found = explain(classifier, images, targets, ids, methods, seed=1, batch_size=128)
    assert found["patch"].min() >= 0
    assert found["patch"].max() < 1
    assert abs(float(found["patch"].mean()) - 0.5) < 0.02
    assert abs(float(found["patch"].std()) - 12**-0.5) < 0.02
    assert abs(float(found["pixel"].std()) - (12 * 16) ** -0.5) < 0.005
    again = explain(classifier, images, targets, ids, methods, seed=1, batch_size=7, sample=0)
    other = explain(classifier, images, targets, ids, methods, seed=1, batch_size=7, sample=1)
    assert torch.equal(again["patch"], found["patch"])
    assert not torch.equal(other["patch"], found["patch"])


def test_tokentm_refuses_blocks_whose_heads_do_not_add_up() -> None:
    with pytest.raises(InputError, match="tokentm needs blocks whose attention ends in a plain projection"):
        maps(model("norm_before_projection"), "tokentm")

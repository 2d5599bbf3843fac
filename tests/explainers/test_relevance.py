"""LRP after Chefer et al.: precision, the textbook on every kind of model, conservation, what is refused."""

from __future__ import annotations

import copy
import subprocess
import sys
from typing import Any

import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.conftest import tiny_vit
from tests.explainers.oracles.stored import golden
from tests.explainers.textbook.relprop import relevance_maps
from tests.explainers.zoo import model
from vitfaith.errors import ConfigError, InputError
from vitfaith.explainers import lrp as explainers
from vitfaith.explainers.passes.context import Context
from vitfaith.explainers.registry import EXPLAINERS
from vitfaith.explainers.relevance import rules
from vitfaith.explainers.relevance.relprop import propagate
from vitfaith.models.classifier import Classifier
from vitfaith.models.passes import PassCounter

NAMES = ("lrp", "partial_lrp", "transformer_attribution", "lrp_rollout")
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "registers and layer scale": {"reg_tokens": 3, "init_values": 0.3, "no_embed_class": True},
    "average pool": {"global_pool": "avg", "class_token": False},
    "average pool beside a class token": {"global_pool": "avg", "fc_norm": True},
    "query-key norm, no bias": {"qk_norm": True, "qkv_bias": False, "pos_embed": "none"},
    "first norm, dynamic size": {"pre_norm": True, "dynamic_img_size": True},
}


def build(variant: str) -> Classifier:
    if variant == "distilled":
        return distilled()
    return tiny_vit(3, **VARIANTS[variant])


def distilled() -> Classifier:
    return copy.deepcopy(model("distilled"))


def maps(classifier: Classifier, images: Tensor, targets: Tensor, **settings: Any) -> dict[str, Tensor]:
    context = Context(classifier, images, targets, [str(i) for i in range(len(images))])
    entries = [EXPLAINERS[name] for name in NAMES]
    out = {}
    for entry in entries:
        fields = entry.parameters.model_fields
        out[entry.name] = entry.implementation(
            context, entry.parameters(**{k: settings[k] for k in fields if k in settings})
        )
    return out


# ---------------------------------------------------------------- the reference implementation's maps


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 5e-8), (torch.float32, 5e-3)])
def test_golden_maps(dtype: torch.dtype, tolerance: float) -> None:
    """The authors' code, run image by image in float64; ours runs the batch at once."""
    classifier, arrays = golden()
    found = propagate(classifier, arrays["images"], arrays["target"], dtype=dtype)
    ours = {
        "transformer_attribution": found.attribution[:, 0, 1:].unflatten(-1, (4, 4)),
        "lrp_relevance_rollout": found.rollout[:, 0, 1:].unflatten(-1, (4, 4)),
        "partial_lrp": found.last[:, 1:].unflatten(-1, (4, 4)),
        "lrp_pixels": found.pixels,
    }
    for name, ours_map in ours.items():
        theirs = arrays[f"map.{name}"]
        error = (ours_map - theirs).abs().amax((1, 2)) / theirs.abs().amax((1, 2))
        assert float(error.max()) < tolerance, (name, error)


# ---------------------------------------------------------------- the textbook


@pytest.mark.parametrize("variant", [*VARIANTS, "distilled"])
def test_textbook(variant: str, images: Tensor, targets: Tensor) -> None:
    classifier = build(variant)
    ours = maps(classifier, images[1:2], targets[1:2])
    slow = relevance_maps(classifier, images[1], int(targets[1]))
    for name in NAMES:
        scale = float(slow[name].abs().max())
        assert scale > 0
        error = float((ours[name][0].double() - slow[name]).abs().max()) / scale
        assert error < 1e-5, (name, error)  # sums that nearly cancel amplify rounding; typically 1e-7


def test_start_layer(vit: Classifier, images: Tensor, targets: Tensor) -> None:
    """Starting at the last block leaves that block's matrix alone: for rollout, the partial map."""
    last = maps(vit, images, targets, start_layer=2)
    torch.testing.assert_close(last["lrp_rollout"], last["partial_lrp"])
    assert not torch.allclose(last["transformer_attribution"], maps(vit, images, targets)["transformer_attribution"])
    with pytest.raises(ConfigError, match=r"start_layer 3 .* 0 to 2"):
        maps(vit, images, targets, start_layer=3)


# ---------------------------------------------------------------- single rules


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), batch=st.integers(1, 3))
def test_rules_conserve_each_image(seed: int, batch: int) -> None:
    """Without the ε, sums per image go in and come out; the two operands of a product get half of it each."""
    g = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(batch, *shape, generator=g, dtype=torch.float64)

    def total(x: Tensor) -> Tensor:
        return x.flatten(1).sum(1)

    weight = torch.randn(5, 9, generator=g, dtype=torch.float64)
    filters = torch.randn(5, 2, 2, 2, generator=g, dtype=torch.float64)
    relevance, inputs, grid, pooled = draw(4, 5), draw(4, 9), draw(5, 2, 2), draw(5)
    alive = ((inputs[..., None, :] * weight).amax(-1) > 0).double()  # without a positive contribution: absorbed
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rules, "EPSILON", 0.0)
        pairs = [(total(rules.linear(inputs, weight, relevance)), total(relevance * alive))]
        pairs += [(total(part), total(relevance) / 2) for part in rules.product(draw(4, 6), draw(6, 5), relevance)]
        first, second = rules.residual(draw(4, 5), draw(4, 5), relevance)
        pairs += [(total(first) + total(second), total(relevance))]
        pairs += [(total(rules.pixels(draw(2, 4, 4), filters, (2, 2), grid)), total(grid))]
        pairs += [(total(rules.pooled_mean(draw(9, 5).abs(), pooled)), total(pooled))]
    for found, expected in pairs:
        torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-7)


def test_division_by_nothing_is_zero() -> None:
    for dtype in (torch.float32, torch.float64):
        found = rules.stable_divide(
            torch.ones(4, dtype=dtype), torch.tensor([0.0, -rules.EPSILON, 2.0, -2.0], dtype=dtype)
        )
        torch.testing.assert_close(found, torch.tensor([0.0, 0.0, 0.5, -0.5], dtype=dtype))


@pytest.mark.parametrize("variant", [*VARIANTS, "distilled"])
def test_each_block_conserves(variant: str, images: Tensor, targets: Tensor) -> None:
    """Relevance 1 enters at the logit and 1 reaches every block; biases take no part in the rules, so none is lost."""
    found = propagate(build(variant), images, targets)
    # an average pool absorbs the relevance of channels in which no token is positive
    expected = found.tokens.sum(-1)[:, -1:].expand(-1, found.tokens.shape[1])
    torch.testing.assert_close(found.tokens.sum(-1), expected, rtol=1e-5, atol=1e-5)
    if "average" not in variant:
        torch.testing.assert_close(expected, torch.ones_like(expected), rtol=1e-5, atol=1e-5)


# ---------------------------------------------------------------- laws


@pytest.mark.parametrize("variant", ["average pool", "distilled"])
def test_a_batch_is_a_stack_of_singles(variant: str, images: Tensor, targets: Tensor) -> None:
    classifier = build(variant)
    together = maps(classifier, images, targets)
    order = torch.tensor([3, 1, 4, 0, 2])
    shuffled = maps(classifier, images[order], targets[order])
    for i in range(len(images)):
        alone = maps(classifier, images[i : i + 1], targets[i : i + 1])
        for name in NAMES:
            scale = float(together[name][i].abs().max())
            torch.testing.assert_close(alone[name][0], together[name][i], rtol=1e-5, atol=1e-6 * scale)
            where = int((order == i).nonzero())
            torch.testing.assert_close(shuffled[name][where], together[name][i], rtol=1e-5, atol=1e-6 * scale)


def test_chunks_do_not_matter(vit: Classifier, images: Tensor, targets: Tensor) -> None:
    whole, parts = propagate(vit, images, targets), propagate(vit, images, targets, batch_size=2)
    torch.testing.assert_close(whole.pixels, parts.pixels, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(whole.attribution, parts.attribution, rtol=1e-9, atol=1e-9)


def test_all_maps_share_one_pass(vit: Classifier, images: Tensor, targets: Tensor) -> None:
    with PassCounter(vit.backbone) as passes:
        maps(vit, images, targets)
    assert (passes.forwards, passes.backwards) == (5, 5)


def test_bfloat16_model_is_explained_in_float64(images: Tensor, targets: Tensor) -> None:
    half, same = tiny_vit(2).bfloat16(), tiny_vit(2)
    same.load_state_dict({k: v.bfloat16().float() for k, v in same.state_dict().items()})
    found, expected = maps(half, images, targets), maps(same, images, targets)
    for name in NAMES:
        torch.testing.assert_close(found[name], expected[name])


def test_degenerate_images_and_heads_stay_finite(images: Tensor, targets: Tensor) -> None:
    classifier = tiny_vit(2)
    constant = torch.stack([torch.zeros(3, 16, 16), torch.full((3, 16, 16), 0.5), torch.ones(3, 16, 16)])
    for found in maps(classifier, constant, targets[:3]).values():
        assert bool(found.isfinite().all())
    classifier.backbone.head.weight.data.zero_()  # type: ignore[union-attr, operator]
    for name, found in maps(classifier, images, targets).items():
        assert torch.equal(found, torch.zeros_like(found)), name  # no contribution: a constant map, flagged downstream


@pytest.mark.parametrize(
    ("build_model", "words"),
    [
        (lambda: tiny_vit(0, global_pool="max"), "'max' pooling"),
        (lambda: tiny_vit(0, num_classes=0), "head is Identity"),
        (lambda: tiny_vit(0, block_fn=timm.models.vision_transformer.ParallelThingsBlock), "ParallelThingsBlock"),
        (lambda: Classifier(timm.create_model("resnet10t"), [0.5] * 3, [0.5] * 3), "ResNet"),
    ],
)
def test_models_without_rules_are_refused(build_model: Any, words: str, images: Tensor, targets: Tensor) -> None:
    with pytest.raises(InputError, match=words):
        maps(build_model(), images, targets)


def test_targets_out_of_range(vit: Classifier, images: Tensor) -> None:
    with pytest.raises(InputError, match=r"targets must be 5 class numbers in \[0, 4\]"):
        maps(vit, images, torch.tensor([0, 1, 2, 3, 5]))


def test_registration_needs_no_torch() -> None:
    code = (
        "import sys; from vitfaith.explainers import lrp, gradient_rules;"
        "sys.exit('torch' in sys.modules or 'timm' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    for name in NAMES:
        entry = EXPLAINERS[name]
        assert entry.traits["family"] == "relevance"
        assert entry.module == explainers.__name__
        assert entry.traits["class_specific"]

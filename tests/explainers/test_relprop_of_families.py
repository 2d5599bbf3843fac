"""LRP after Chefer et al. on EVA, BEiT, DINOv3 and their kin: textbook, conservation, batches, other spellings, refusals."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.conftest import tiny_vit
from tests.explainers import rewrites
from tests.explainers.ruled import FAMILIES, PARALLEL, batch, ruled
from tests.explainers.textbook.relprop_families import family_maps
from tests.explainers.zoo import TINY, tiny
from vitfaith.errors import InputError
from vitfaith.explainers.passes.context import Context
from vitfaith.explainers.registry import EXPLAINERS
from vitfaith.explainers.relevance.relprop import propagate
from vitfaith.models.classifier import Classifier

NAMES = ("lrp", "partial_lrp", "transformer_attribution", "lrp_rollout")

every_model = pytest.mark.parametrize("name", FAMILIES)


def maps(classifier: Classifier, images: Tensor, targets: Tensor) -> dict[str, Tensor]:
    context = Context(classifier, images, targets, [str(i) for i in range(len(images))])
    entries = [EXPLAINERS[name] for name in NAMES]
    return {entry.name: entry.implementation(context, entry.parameters()) for entry in entries}


def close(found: Tensor, expected: Tensor, tolerance: float, name: str) -> None:
    error = float((found - expected).abs().max() / expected.abs().max())
    assert error < tolerance, (name, error)


@pytest.mark.parametrize("signed", [False, True])
@every_model
def test_textbook(name: str, signed: bool) -> None:
    """Largest error 5e-7 of a map's maximum: the authors' ε, where sums nearly cancel."""
    classifier = rewrites.with_signed_scales(ruled(name)) if signed else ruled(name)
    if signed and not rewrites.scales(classifier):
        return
    images, targets = batch(classifier)
    found = maps(classifier, images[1:2], targets[1:2])
    slow = family_maps(classifier, images[1], int(targets[1]))
    for explainer in NAMES:
        assert float(slow[explainer].abs().max()) > 0
        close(found[explainer][0].double(), slow[explainer], 1e-5, explainer)


@every_model
def test_each_block_conserves(name: str) -> None:
    """Relevance 1 enters at the logit and reaches every block: largest error 1e-7, from the authors' ε."""
    classifier = ruled(name)
    found = propagate(classifier, *batch(classifier))
    sums = found.tokens.sum(-1)
    torch.testing.assert_close(sums, torch.ones_like(sums), rtol=1e-5, atol=1e-5)


@every_model
def test_a_batch_is_a_stack_of_singles(name: str) -> None:
    classifier = ruled(name)
    images, targets = batch(classifier)
    together = maps(classifier, images, targets)
    for i in range(len(images)):
        alone = maps(classifier, images[i : i + 1], targets[i : i + 1])
        for explainer in NAMES:
            close(alone[explainer][0], together[explainer][i], 1e-5, explainer)


@every_model
def test_maps_do_not_know_how_the_model_is_spelled(name: str) -> None:
    """Layer scales of both signs folded away, heads in another order, projections stacked, attention unfused."""
    classifier = rewrites.with_signed_scales(ruled(name))
    images, targets = batch(classifier)
    expected = maps(classifier, images, targets)
    spellings = [rewrites.folded(classifier), rewrites.respelled(classifier)]
    if name not in ("RoPE-ViT, mixed", "grouped queries"):  # their heads are not alike
        spellings.append(rewrites.with_heads_permuted(classifier))
    for other in spellings:
        torch.testing.assert_close(other(images.double()), classifier(images.double()))
        found = maps(other, images, targets)
        for explainer in NAMES:
            close(found[explainer], expected[explainer], 1e-6, explainer)


@pytest.mark.parametrize("start", [1e-5, 0.3, None])
def test_layer_scale_is_part_of_the_layer_before_it(start: float | None) -> None:
    """Of a plain ViT too: with factors as small as at the start of a training, and of both signs (None)."""
    classifier = tiny_vit(3, init_values=start or 1.0).double()
    for parameter in (p for n, p in classifier.named_parameters() if start and n.endswith("gamma")):
        parameter.data.fill_(start)
    classifier = classifier if start else rewrites.with_signed_scales(classifier)
    images, targets = batch(classifier)
    expected, found = maps(classifier, images, targets), maps(rewrites.folded(classifier), images, targets)
    for explainer in NAMES:
        close(found[explainer], expected[explainer], 1e-6, explainer)


def test_the_pooling_is_the_last_attention() -> None:
    """With a learned query, the partial map is the query's row; the rollout without blocks would be no more than that."""
    classifier = ruled("SigLIP with registers")
    images, targets = batch(classifier)
    found = propagate(classifier, images, targets)
    assert torch.equal(found.last[:, :4], torch.zeros(3, 4, dtype=torch.float64))  # this one does not read registers
    every = propagate(ruled("Perception Encoder"), images, targets)
    assert bool((every.last[:, 0] > 0).all())  # this one reads the class token too


@pytest.mark.parametrize(
    ("build", "words"),
    [
        *[(lambda name=name: ruled(name), "use cp_lrp, attnlrp or a libragrad explainer") for name in PARALLEL],
        (lambda: tiny_vit(global_pool="max"), "'max' pooling; use cp_lrp"),
        (lambda: tiny("vit_dwee_patch16_reg1_gap_256", **TINY), r"\(DiffAttention\); use .* integrated_gradients"),
        (lambda: tiny("cait_xxs24_224", img_size=32, num_classes=5), "Cait; use an explainer that needs no rules"),
    ],
)
def test_models_without_rules_are_refused_with_what_to_use(build: Any, words: str) -> None:
    classifier = build()
    images = torch.rand(1, *classifier.input_shape)
    with pytest.raises(InputError, match=words):
        maps(classifier, images, torch.zeros(1, dtype=torch.int64))


@every_model
def test_the_model_is_left_as_it_was(name: str) -> None:
    classifier = rewrites.respelled(ruled(name))
    before = [(n, sorted(vars(m)), getattr(m, "fused_attn", None)) for n, m in classifier.named_modules()]
    maps(classifier, *batch(classifier))
    assert [(n, sorted(vars(m)), getattr(m, "fused_attn", None)) for n, m in classifier.named_modules()] == before
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in classifier.modules())

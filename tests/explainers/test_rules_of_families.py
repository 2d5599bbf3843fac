"""Modified backward passes of EVA, BEiT, DINOv3 and their kin: textbook, completeness, batches, other spellings, refusals."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.conftest import tiny_vit
from tests.explainers import rewrites
from tests.explainers.ruled import FAMILIES, PARALLEL, batch, gap, ruled
from tests.explainers.textbook import families as textbook
from tests.explainers.zoo import TINY, tiny
from vitfaith.errors import InputError
from vitfaith.explainers.passes.context import Context
from vitfaith.explainers.registry import EXPLAINERS
from vitfaith.explainers.relevance.full_gradient import full_gradient
from vitfaith.explainers.relevance.modified import Rules, modified_backward
from vitfaith.models.classifier import Classifier

NAMES = ("cp_lrp", "attnlrp", "libragrad_input_x_gradient", "libragrad_fullgrad_plus")
RULES = {"cp_lrp": ("constant", "constant"), "libragrad": ("constant", "uniform"), "attnlrp": ("uniform", "uniform")}
MODELS = [*FAMILIES, *PARALLEL]

every_model = pytest.mark.parametrize("name", MODELS)


def maps(classifier: Classifier, images: Tensor, targets: Tensor, **settings: Any) -> dict[str, Tensor]:
    context = Context(classifier, images, targets, [str(i) for i in range(len(images))])
    out = {}
    for name in NAMES:
        entry = EXPLAINERS[name]
        own = {k: v for k, v in settings.items() if k in entry.parameters.model_fields}
        out[name] = entry.implementation(context, entry.parameters(**own))
    return out


def close(found: Tensor, expected: Tensor, tolerance: float) -> None:
    error = float((found - expected).abs().max() / expected.abs().max())
    assert error < tolerance, error


@pytest.mark.parametrize("rule", RULES)
@every_model
def test_textbook(name: str, rule: str) -> None:
    """Pixels, tokens and biases against the forward written out with detached factors; largest error 5e-15."""
    attention, gates = RULES[rule]
    classifier = ruled(name)
    images, targets = batch(classifier)
    found = full_gradient(classifier, images.double(), targets, Rules(attention, gates=gates))  # type: ignore[arg-type]
    pixels, tokens, biases, pooled = textbook.full_gradient(classifier, images[1], int(targets[1]), attention, gates)
    close(found.pixels[1], pixels, 1e-12)
    close(found.inputs[1], tokens, 1e-12)
    torch.testing.assert_close(found.biases[1], biases, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found.pooled_biases[1], pooled, rtol=1e-12, atol=1e-12)


@every_model
def test_the_explainers_are_the_textbooks_maps(name: str) -> None:
    classifier = ruled(name)
    images, targets = batch(classifier)
    found = maps(classifier, images, targets, at="tokens")
    for explainer, rule in (("cp_lrp", "cp_lrp"), ("attnlrp", "attnlrp"), ("libragrad_input_x_gradient", "libragrad")):
        _, tokens, _, _ = textbook.full_gradient(classifier, images[0], int(targets[0]), *RULES[rule])
        close(found[explainer][0].flatten(), tokens[0, classifier.prefix_tokens :].float(), 1e-5)
    _, tokens, biases, _ = textbook.full_gradient(classifier, images[0], int(targets[0]), *RULES["libragrad"])
    expected = (tokens.sum(0) + biases)[classifier.prefix_tokens :].float()
    close(found["libragrad_fullgrad_plus"][0].flatten(), expected, 1e-5)


@pytest.mark.parametrize("gates", ["constant", "uniform"])
@every_model
def test_fullgrad_is_complete(name: str, gates: Any) -> None:
    """Inputs and biases add up to the logit: CP-LRP's and LibraGrad's passes lose nothing; largest gap 1e-15."""
    classifier = ruled(name)
    images, targets = batch(classifier)
    found = full_gradient(classifier, images, targets, Rules("constant", gates=gates))
    torch.testing.assert_close(found.score, classifier(images.double()).gather(1, targets[:, None])[:, 0])
    assert float(gap(found).max()) < 1e-12
    single = full_gradient(classifier.float(), images, targets, Rules("constant", gates=gates))
    assert float(gap(single).max()) < 1e-4


@pytest.mark.parametrize("rule", RULES)
@every_model
def test_the_forward_is_unchanged(name: str, rule: str) -> None:
    attention, gates = RULES[rule]
    classifier = ruled(name)
    images, _ = batch(classifier)
    expected = classifier(images.double())
    with modified_backward(classifier.backbone, Rules(attention, gates=gates)):  # type: ignore[arg-type]
        torch.testing.assert_close(classifier(images.double()), expected, rtol=1e-12, atol=1e-12)
    assert not any("forward" in vars(module) for module in classifier.modules())


@every_model
def test_a_batch_is_a_stack_of_singles(name: str) -> None:
    classifier = ruled(name)
    images, targets = batch(classifier)
    together = maps(classifier, images, targets)
    for i in range(len(images)):
        alone = maps(classifier, images[i : i + 1], targets[i : i + 1])
        for explainer in NAMES:
            close(alone[explainer][0], together[explainer][i], 1e-6)


@pytest.mark.parametrize("gamma", [0, 0.25])
@every_model
def test_maps_do_not_know_how_the_model_is_spelled(name: str, gamma: float) -> None:
    """Layer scales of both signs folded away, heads in another order, projections stacked, attention unfused."""
    if gamma and "scaled" in name:
        return
    classifier = rewrites.with_signed_scales(ruled(name))
    images, targets = batch(classifier)
    expected = maps(classifier, images, targets, gamma=gamma)
    spellings = [rewrites.folded(classifier), rewrites.respelled(classifier)]
    if name not in ("RoPE-ViT, mixed", "grouped queries"):  # their heads are not alike
        spellings.append(rewrites.with_heads_permuted(classifier))
    for other in spellings:
        torch.testing.assert_close(other(images.double()), classifier(images.double()))
        found = maps(other, images, targets, gamma=gamma)
        for explainer in NAMES:
            close(found[explainer], expected[explainer], 1e-6)
    assert rewrites.scales(spellings[0]) == 0


@every_model
def test_gates_make_cp_lrp_and_libragrad_differ_exactly_in_gated_models(name: str) -> None:
    classifier = ruled(name)
    found = maps(classifier, *batch(classifier), at="tokens")
    gated = any(hasattr(module, "fc1_g") or hasattr(module, "gate_last") for module in classifier.modules())
    assert torch.equal(found["cp_lrp"], found["libragrad_input_x_gradient"]) != gated


def test_gamma_of_cp_lrp_spares_the_attention_of_a_pooling_and_reaches_its_mlp() -> None:
    network = ruled("SigLIP").backbone
    with modified_backward(network, Rules("constant", 0.25)):
        replaced = {n for n, m in network.named_modules() if isinstance(m, torch.nn.Linear) and "forward" in vars(m)}
    assert {"attn_pool.mlp.fc1", "attn_pool.mlp.fc2", "head", "blocks.0.mlp.fc1"} <= replaced
    assert not any(name.endswith((".q", ".kv", ".proj", ".qkv")) for name in replaced)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (
            lambda: tiny("vit_dwee_patch16_reg1_gap_256", **TINY),
            r"'blocks.0.attn' \(DiffAttention\); use .* integrated_gradients",
        ),
        (lambda: tiny("vit_dpwee_patch16_reg1_gap_256", **TINY), r"'blocks.0' \(DiffParallelScalingBlock\)"),
        (lambda: tiny("cait_xxs24_224", img_size=32, num_classes=5), "Cait; use an explainer that needs no rules"),
        (lambda: tiny_vit(global_pool="", num_classes=5), r"every token \(global_pool=''\)"),
    ],
)
def test_models_without_rules_are_refused_with_what_to_use(build: Any, words: str) -> None:
    classifier = build()
    images = torch.rand(1, *classifier.input_shape)
    with pytest.raises(InputError, match=words):
        maps(classifier, images, torch.zeros(1, dtype=torch.int64))


def test_gated_attention_is_refused() -> None:
    classifier = ruled("DINOv3")
    attention: Any = classifier.backbone.blocks[1].attn  # type: ignore[index, union-attr]
    attention.gate = torch.nn.Linear(24, 24)
    with pytest.raises(InputError, match=r"gated attention of 'blocks.1.attn'; use .* integrated_gradients"):
        maps(classifier, *batch(classifier))


def test_gamma_is_refused_where_attention_and_mlp_share_layers() -> None:
    classifier = ruled("parallel, scaled")
    with pytest.raises(InputError, match="set gamma: 0"):
        maps(classifier, *batch(classifier), gamma=0.25)

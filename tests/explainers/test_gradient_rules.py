"""CP-LRP, AttnLRP and LibraGrad: completeness, the modified pass and what it leaves alone, what is refused."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import timm
import torch
from timm.layers import GELUTanh, LayerNormFp32, QuickGELU, RmsNorm
from timm.models.vision_transformer import ParallelThingsBlock, ResPostBlock
from torch import Tensor, nn

from tests.conftest import tiny_vit
from tests.explainers.ruled import gap
from tests.explainers.zoo import model
from vitfaith.errors import InputError
from vitfaith.explainers.passes.context import Context
from vitfaith.explainers.registry import EXPLAINERS
from vitfaith.explainers.relevance.full_gradient import full_gradient
from vitfaith.explainers.relevance.gamma import gamma_linear
from vitfaith.explainers.relevance.modified import Rules, modified_backward
from vitfaith.models.classifier import Classifier
from vitfaith.models.passes import PassCounter

NAMES = ("cp_lrp", "attnlrp", "libragrad_input_x_gradient", "libragrad_fullgrad_plus")
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "registers, layer scale, QuickGELU": {"reg_tokens": 2, "init_values": 0.3, "act_layer": QuickGELU},
    "average pool with norm, tanh GELU": {"global_pool": "avg", "fc_norm": True, "act_layer": GELUTanh},
    "all norms": {"qk_norm": True, "scale_attn_norm": True, "scale_mlp_norm": True, "pre_norm": True},
    "RMS norm, SiLU": {"norm_layer": RmsNorm, "act_layer": nn.SiLU, "qkv_bias": False},
    "max pool, ReLU": {"global_pool": "max", "class_token": False, "act_layer": nn.ReLU},
    "norm in float32": {"norm_layer": LayerNormFp32},
    "post-norm": {"block_fn": ResPostBlock, "init_values": 0.5},
    "parallel": {"block_fn": ParallelThingsBlock},
}


def double(**overrides: Any) -> Classifier:
    return tiny_vit(3, **overrides).double()


def distilled() -> Classifier:
    return copy.deepcopy(model("distilled")).double()


def maps(classifier: Classifier, images: Tensor, targets: Tensor, **settings: Any) -> dict[str, Tensor]:
    context = Context(classifier, images, targets, [str(i) for i in range(len(images))])
    out = {}
    for name in NAMES:
        entry = EXPLAINERS[name]
        own = {k: v for k, v in settings.items() if k in entry.parameters.model_fields}
        out[name] = entry.implementation(context, entry.parameters(**own))
    return out


def test_attnlrp_and_cp_lrp_differ(images: Tensor, targets: Tensor) -> None:
    found = maps(tiny_vit(3), images, targets)
    scale = found["cp_lrp"].abs().max()
    assert float((found["cp_lrp"] - found["attnlrp"]).abs().max() / scale) > 0.01


# ---------------------------------------------------------------- LibraGrad


@pytest.mark.parametrize("variant", VARIANTS)
def test_fullgrad_is_complete(variant: str, images: Tensor, targets: Tensor) -> None:
    """Inputs and biases add up to the logit; in float32 to its rounding."""
    classifier = double(**VARIANTS[variant])
    found = full_gradient(classifier, images, targets, Rules("constant"))
    torch.testing.assert_close(found.score, classifier(images.double()).gather(1, targets[:, None])[:, 0])
    assert float(gap(found).max()) < 1e-10
    single = full_gradient(classifier.float(), images, targets, Rules("constant"))
    assert float(gap(single).max()) < 1e-4


def test_fullgrad_of_a_distilled_model_is_complete(images: Tensor, targets: Tensor) -> None:
    assert float(gap(full_gradient(distilled(), images, targets, Rules("constant"))).max()) < 1e-10


def test_plain_fullgrad_is_not_complete(images: Tensor, targets: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    """The gap that the rules close: with ordinary gradients it is of the size of the logit."""
    import contextlib

    from vitfaith.explainers.relevance import full_gradient as module

    monkeypatch.setattr(module, "modified_backward", lambda *_: contextlib.nullcontext())
    found = full_gradient(double(), images, targets, Rules("constant"))
    assert float((gap(found) / found.score.abs()).median()) > 0.1


def test_libra_gradient_at_pixels_is_cp_lrp(vit: Classifier, images: Tensor, targets: Tensor) -> None:
    found = maps(vit, images, targets, at="pixels")
    assert torch.equal(found["libragrad_input_x_gradient"], found["cp_lrp"])


# ---------------------------------------------------------------- the modified pass and the model


@pytest.mark.parametrize("attention", ["constant", "uniform"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_forward_is_unchanged(variant: str, attention: Any, images: Tensor) -> None:
    classifier = double(**VARIANTS[variant])
    expected = classifier(images.double())
    with modified_backward(classifier.backbone, Rules(attention)):
        found = classifier(images.double())
    tolerance = 1e-5 if variant == "norm in float32" else 1e-10  # timm rounds there, the modified pass does not
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


def test_a_forward_that_someone_else_replaced_comes_back(images: Tensor) -> None:
    classifier = tiny_vit(2)
    norm: Any = classifier.backbone.norm
    theirs = norm.forward
    norm.forward = theirs
    with (
        pytest.raises(InputError, match="'norm', whose forward was replaced"),
        modified_backward(classifier.backbone, Rules("constant")),
    ):
        pass
    assert norm.__dict__["forward"] is theirs


def test_other_models_keep_their_gradients(images: Tensor) -> None:
    one, other = tiny_vit(2), tiny_vit(2)

    def gradient(model: Classifier) -> Tensor:
        x = images.clone().requires_grad_()
        return torch.autograd.grad(model(x)[:, 0].sum(), x)[0]

    plain = gradient(other)
    with modified_backward(one.backbone, Rules("constant")):
        assert torch.equal(gradient(other), plain)
        assert not torch.allclose(gradient(one), plain)
    assert torch.equal(gradient(one), plain)


def test_two_passes_give_four_maps(vit: Classifier, images: Tensor, targets: Tensor) -> None:
    with PassCounter(vit.backbone) as passes:
        maps(vit, images, targets)
    assert (passes.forwards, passes.backwards) == (10, 10)


def test_bfloat16_models_run_as_they_are(images: Tensor, targets: Tensor) -> None:
    found, expected = maps(tiny_vit(3).bfloat16(), images, targets), maps(tiny_vit(3), images, targets)
    for name in NAMES:
        assert found[name].dtype == torch.float32
        error = (found[name] - expected[name]).flatten(1).norm(dim=1) / expected[name].flatten(1).norm(dim=1)
        assert float(error.max()) < 0.1, name


def test_a_gate_at_zero_is_one_half() -> None:
    classifier = tiny_vit(2)
    act: Any = classifier.backbone.blocks[0].mlp.act  # type: ignore[index, union-attr]
    x = torch.tensor([0.0, 1.0, -2.0], requires_grad=True)
    with modified_backward(classifier.backbone, Rules("constant")):
        (gate,) = torch.autograd.grad(act(x).sum(), x)
    torch.testing.assert_close(gate, torch.tensor([0.5, 0.8413447, 0.0227501]))


@pytest.mark.parametrize(
    ("build_model", "words"),
    [
        (lambda: tiny_vit(0, attn_layer="diff"), "DiffAttention"),
        (lambda: tiny_vit(0, act_layer=nn.Tanh), "Tanh"),
        (lambda: Classifier(timm.create_model("resnet10t"), [0.5] * 3, [0.5] * 3), "ResNet"),
    ],
)
def test_models_without_rules_are_refused(build_model: Any, words: str, images: Tensor, targets: Tensor) -> None:
    with pytest.raises(InputError, match=words):
        maps(build_model(), images, targets)


def test_result_has_one_entry_an_image(vit: Classifier, images: Tensor, targets: Tensor) -> None:
    found = full_gradient(vit, images, targets, Rules("uniform"))
    assert found.pixels.shape == (5, 16, 16)
    assert found.inputs.shape == (5, 3, 17)
    assert found.biases.shape == (5, 17)
    assert found.pooled_biases.shape == found.score.shape == (5,)


# ---------------------------------------------------------------- the γ-rule


@pytest.mark.parametrize("gamma", [0.05, 0.25, 10.0])
def test_the_gamma_rule_conserves_relevance(gamma: float) -> None:
    """What an output gets of its own contributions and bias is what it passes on; without bias nothing is lost."""
    torch.manual_seed(0)
    layer = nn.Linear(9, 7, bias=False).double()
    x = torch.randn(4, 9, dtype=torch.float64, requires_grad=True)
    outputs = gamma_linear(layer, gamma)(x)
    assert torch.equal(outputs, layer(x))
    seed = torch.randn(4, 7, dtype=torch.float64)
    (gradient,) = torch.autograd.grad(outputs, x, seed)
    torch.testing.assert_close((gradient * x).sum(1), (seed * outputs).sum(1))


def test_gamma_zero_is_the_ordinary_gradient() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(9, 7).double()
    x = torch.randn(4, 9, dtype=torch.float64, requires_grad=True)
    seed = torch.randn(4, 7, dtype=torch.float64)
    found, expected = (torch.autograd.grad(f(x), x, seed)[0] for f in (gamma_linear(layer, 0.0), layer))
    torch.testing.assert_close(found, expected)


def test_gamma_of_patches_and_layers_are_settings_of_their_own(images: Tensor, targets: Tensor) -> None:
    found = [
        maps(tiny_vit(3), images, targets, **settings)["attnlrp"]
        for settings in ({}, {"gamma": 0.25}, {"gamma_patches": 0.25}, {"gamma": 0.25, "gamma_patches": 0.25})
    ]
    for i in range(4):
        for j in range(i):
            assert not torch.allclose(found[i], found[j], rtol=1e-3)


def test_gamma_of_cp_lrp_spares_attention_and_reaches_the_patches(images: Tensor, targets: Tensor) -> None:
    def found(**settings: Any) -> Tensor:
        return maps(tiny_vit(3), images, targets, **settings)["cp_lrp"]

    plain, both = found(), found(gamma=0.25)
    assert torch.equal(plain, found(gamma=0.0))
    assert torch.equal(plain, found(gamma=0.0, gamma_patches=0.0))
    assert torch.equal(both, found(gamma=0.25, gamma_patches=0.25))
    parts = [plain, both, found(gamma=0.25, gamma_patches=0), found(gamma_patches=0.25)]
    for i in range(4):
        for j in range(i):
            assert not torch.allclose(parts[i], parts[j], rtol=1e-3)
    network = tiny_vit(3).backbone
    with modified_backward(network, Rules("constant", 0.25)):
        replaced = {
            name
            for name, module in network.named_modules()
            if isinstance(module, nn.Linear) and "forward" in vars(module)
        }
    assert replaced == {"head", *(f"blocks.{i}.mlp.fc{j}" for i in range(3) for j in (1, 2))}

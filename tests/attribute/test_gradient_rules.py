"""CP-LRP, AttnLRP and LibraGrad: explicit forwards, relevance-space textbooks, completeness, laws."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import timm
import torch
from timm.layers import GELUTanh, LayerNormFp32, QuickGELU, RmsNorm
from timm.models.vision_transformer import ParallelThingsBlock, ResPostBlock
from torch import Tensor, nn
from zennit.composites import LayerMapComposite
from zennit.rules import Epsilon

from tests.conftest import tiny_vit
from vitfaith.attribute.context import Context
from vitfaith.attribute.registry import EXPLAINERS
from vitfaith.attribute.relevance.full_gradient import FullGradient, full_gradient
from vitfaith.attribute.relevance.modified import modified_backward
from vitfaith.errors import InputError
from vitfaith.models.classifier import Classifier, freeze
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
    torch.manual_seed(5)
    arguments = {"img_size": 16, "patch_size": 4, "embed_dim": 24, "depth": 2, "num_heads": 3, "num_classes": 5}
    backbone = timm.create_model("deit_tiny_distilled_patch16_224", pretrained=False, **arguments)
    for parameter in backbone.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    return freeze(Classifier(backbone, [0.5] * 3, [0.25] * 3)).double()


def maps(classifier: Classifier, images: Tensor, targets: Tensor, **settings: Any) -> dict[str, Tensor]:
    context = Context(classifier, images, targets, [str(i) for i in range(len(images))])
    out = {}
    for name in NAMES:
        entry = EXPLAINERS[name]
        own = {k: v for k, v in settings.items() if k in entry.parameters.model_fields}
        out[name] = entry.implementation(context, entry.parameters(**own))
    return out


# ---------------------------------------------------------------- CP-LRP: the forward written out


def conservative_logit(classifier: Classifier, pixels: Tensor, target: int) -> Tensor:
    """A class-token ViT whose norm scales, attention matrices and GELU gates are constants, for one image."""
    net: Any = classifier.backbone

    def norm(layer: nn.LayerNorm, x: Tensor) -> Tensor:
        scale = torch.sqrt(x.var(-1, keepdim=True, unbiased=False) + layer.eps)
        return (x - x.mean(-1, keepdim=True)) / scale.detach() * layer.weight + layer.bias

    x = net.patch_embed.proj(pixels[None])[0].flatten(1).T
    x = torch.cat([net.cls_token[0], x]) + net.pos_embed[0]
    for block in net.blocks:
        q, k, v = block.attn.qkv(norm(block.norm1, x)).reshape(len(x), 3, 3, 8).unbind(1)
        mixed = []
        for head in range(3):
            a = torch.softmax(q[:, head] @ k[:, head].T / math.sqrt(8), -1)
            mixed.append(a.detach() @ v[:, head])
        x = x + block.attn.proj(torch.cat(mixed, -1))
        y = block.mlp.fc1(norm(block.norm2, x))
        gate = 0.5 * (1 + torch.erf(y / math.sqrt(2)))
        x = x + block.mlp.fc2(y * gate.detach())
    return net.head(norm(net.norm, x)[0])[target]


def test_cp_lrp_is_gradient_x_input_of_the_explicit_forward(images: Tensor, targets: Tensor) -> None:
    classifier = double()
    ours = maps(classifier, images, targets)["cp_lrp"]
    for i in range(len(images)):
        pixels = ((images[i].double() - 0.5) / 0.25).requires_grad_()
        logit = conservative_logit(classifier, pixels, int(targets[i]))
        torch.testing.assert_close(logit, classifier(images[i : i + 1].double())[0, targets[i]])
        logit.backward()
        assert pixels.grad is not None
        expected = (pixels * pixels.grad).detach().sum(0).reshape(4, 4, 4, 4).sum((1, 3))
        torch.testing.assert_close(ours[i], expected.float())


# ---------------------------------------------------------------- both in relevance space


def linear(x: Tensor, weight: Tensor, bias: Tensor, relevance: Tensor) -> Tensor:
    """The ε-rule with ε = 0: R_i = Σ_j x_i W_ji / z_j R_j, with the bias in z."""
    z = x @ weight.T + bias
    return x * ((relevance / z) @ weight)


def layer_norm(layer: nn.LayerNorm, x: Tensor, relevance: Tensor) -> Tensor:
    """With σ constant, LayerNorm is the linear map γ/σ (I − 1/D) plus β, token by token."""
    out = torch.empty_like(x)
    size = x.shape[-1]
    centre = torch.eye(size, dtype=x.dtype) - 1 / size
    for i, row in enumerate(x):
        weight = layer.weight[:, None] * centre / torch.sqrt(row.var(unbiased=False) + layer.eps)
        out[i] = linear(row, weight, layer.bias, relevance[i])
    return out


def relevance_of_tokens(classifier: Classifier, image: Tensor, target: int, rule: str) -> Tensor:
    """Rules of the papers as relevance messages, no gradients: relevance (N,) of the tokens that enter block 0."""
    net: Any = classifier.backbone
    x = net.patch_embed.proj(((image.double() - 0.5) / 0.25)[None])[0].flatten(1).T
    x = torch.cat([net.cls_token[0], x]) + net.pos_embed[0]
    kept = []
    for block in net.blocks:
        normed = block.norm1(x)
        qkv = block.attn.qkv(normed)
        q, k, v = qkv.reshape(len(x), 3, 3, 8).permute(1, 2, 0, 3)
        scores = q @ k.mT / math.sqrt(8)
        mixed = scores.softmax(-1) @ v
        flat = mixed.transpose(0, 1).flatten(1)
        branch = block.attn.proj(flat)
        middle = x + branch
        normed2 = block.norm2(middle)
        expanded = block.mlp.act(block.mlp.fc1(normed2))
        branch2 = block.mlp.fc2(expanded)
        kept.append((x, normed, q, k, v, scores, mixed, flat, branch, middle, normed2, expanded, branch2))
        x = middle + branch2
    final = net.norm(x)
    relevance = torch.zeros_like(final)
    relevance[0] = final[0] * net.head.weight[target]
    relevance = layer_norm(net.norm, x, relevance)
    for block, values in reversed(list(zip(net.blocks, kept, strict=True))):
        x, normed, q, k, v, scores, mixed, flat, branch, middle, normed2, expanded, branch2 = values
        whole = relevance / (middle + branch2)
        skip, r = middle * whole, branch2 * whole
        r = linear(expanded, block.mlp.fc2.weight, block.mlp.fc2.bias, r)  # the activation passes relevance on as it is
        r = linear(normed2, block.mlp.fc1.weight, block.mlp.fc1.bias, r)
        relevance = skip + layer_norm(block.norm2, middle, r)
        whole = relevance / (x + branch)
        skip, r = x * whole, branch * whole
        r = linear(flat, block.attn.proj.weight, block.attn.proj.bias, r).reshape(len(x), 3, 8).transpose(0, 1)
        a = scores.softmax(-1)
        if rule == "constant":  # all of R to the values
            on_v = torch.einsum("hij,hjd,hid->hjd", a, v, r / mixed)
            on_q, on_k = torch.zeros_like(q), torch.zeros_like(k)
        else:  # uniform rule: half to each factor; softmax: R_i = x_i (R_i − s_i Σ_j R_j)
            on_v = torch.einsum("hij,hjd,hid->hjd", a, v, r / mixed / 2)
            on_a = torch.einsum("hij,hjd,hid->hij", a, v, r / mixed / 2)
            on_scores = scores * (on_a - a * on_a.sum(-1, keepdim=True))
            per_term = on_scores / (scores * math.sqrt(8)) / 2
            on_q = torch.einsum("hid,hjd,hij->hid", q, k, per_term)
            on_k = torch.einsum("hid,hjd,hij->hjd", q, k, per_term)
        r = torch.stack([on_q, on_k, on_v]).permute(2, 0, 1, 3).flatten(1)
        r = linear(normed, block.attn.qkv.weight, block.attn.qkv.bias, r)
        relevance = skip + layer_norm(block.norm1, x, r)
    return relevance.sum(-1)


@pytest.mark.parametrize(("name", "rule"), [("cp_lrp", "constant"), ("attnlrp", "uniform")])
def test_rules_in_relevance_space(name: str, rule: str, images: Tensor, targets: Tensor) -> None:
    """What the papers define by messages between neurons is what the modified gradients give."""
    classifier = double()
    ours = maps(classifier, images[:3], targets[:3], at="tokens")[name]
    for i in range(3):
        with torch.no_grad():
            expected = relevance_of_tokens(classifier, images[i], int(targets[i]), rule)
        torch.testing.assert_close(ours[i].flatten(), expected[1:].float(), rtol=1e-4, atol=1e-6)


def test_attnlrp_and_cp_lrp_differ(images: Tensor, targets: Tensor) -> None:
    found = maps(tiny_vit(3), images, targets)
    scale = found["cp_lrp"].abs().max()
    assert float((found["cp_lrp"] - found["attnlrp"]).abs().max() / scale) > 0.01


def test_gradient_x_input_of_a_linear_layer_is_zennits_epsilon_rule() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(6, 4).double()
    x, relevance = torch.randn(3, 6).double().requires_grad_(), torch.randn(3, 4).double()
    with LayerMapComposite([(nn.Linear, Epsilon(1e-12))]).context(nn.Sequential(layer)) as model:
        (theirs,) = torch.autograd.grad(model(x), x, relevance)
    torch.testing.assert_close(linear(x, layer.weight, layer.bias, relevance), theirs, rtol=1e-6, atol=1e-8)


# ---------------------------------------------------------------- LibraGrad


@pytest.mark.parametrize("variant", VARIANTS)
def test_fullgrad_is_complete(variant: str, images: Tensor, targets: Tensor) -> None:
    """Inputs and biases add up to the logit; in float32 to its rounding."""
    classifier = double(**VARIANTS[variant])
    found = full_gradient(classifier, images, targets, "constant")
    torch.testing.assert_close(found.score, classifier(images.double()).gather(1, targets[:, None])[:, 0])
    assert float(found.completeness_gap.max()) < 1e-10
    single = full_gradient(classifier.float(), images, targets, "constant")
    assert float(single.completeness_gap.max()) < 1e-4


def test_fullgrad_of_a_distilled_model_is_complete(images: Tensor, targets: Tensor) -> None:
    assert float(full_gradient(distilled(), images, targets, "constant").completeness_gap.max()) < 1e-10


def test_plain_fullgrad_is_not_complete(images: Tensor, targets: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    """The gap that the rules close: with ordinary gradients it is of the size of the logit."""
    import contextlib

    from vitfaith.attribute.relevance import full_gradient as module

    monkeypatch.setattr(module, "modified_backward", lambda *_: contextlib.nullcontext())
    found = full_gradient(double(), images, targets, "constant")
    assert float((found.completeness_gap / found.score.abs()).median()) > 0.1


def slow_full_gradient(classifier: Classifier, image: Tensor, target: int) -> tuple[Tensor, Tensor]:
    """Input terms (L, N) and bias terms (N,) with every bias a leaf of its own at every token."""
    net: Any = copy.deepcopy(classifier.backbone)
    leaves: list[Tensor] = []
    inputs: list[Tensor] = []

    def biased(x: Tensor, bias: Tensor) -> Tensor:
        leaf = bias.detach().expand(x.shape).clone().requires_grad_()
        leaves.append(leaf)
        return x + leaf

    def affine(layer: nn.Linear, x: Tensor) -> Tensor:
        return biased(x @ layer.weight.T, layer.bias)

    def norm(layer: nn.LayerNorm, x: Tensor) -> Tensor:
        scale = torch.sqrt(x.var(-1, keepdim=True, unbiased=False) + layer.eps)
        return biased((x - x.mean(-1, keepdim=True)) / scale.detach() * layer.weight, layer.bias)

    x = net.patch_embed.proj(((image.double() - 0.5) / 0.25)[None])[0].flatten(1).T
    x = (torch.cat([net.cls_token[0], x]) + net.pos_embed[0]).detach().requires_grad_()
    for block in net.blocks:
        x.retain_grad()
        inputs.append(x)
        q, k, v = affine(block.attn.qkv, norm(block.norm1, x)).reshape(len(x), 3, 3, 8).permute(1, 2, 0, 3)
        a = (q @ k.mT / math.sqrt(8)).softmax(-1).detach()
        x = x + affine(block.attn.proj, (a @ v).transpose(0, 1).flatten(1))
        y = affine(block.mlp.fc1, norm(block.norm2, x))
        x = x + affine(block.mlp.fc2, y * (0.5 * (1 + torch.erf(y / math.sqrt(2)))).detach())
    net.head(norm(net.norm, x)[0])[target].backward()
    by_block = torch.stack([(x * x.grad).sum(-1) for x in inputs]).detach()  # type: ignore[operator]
    return by_block, sum((leaf * leaf.grad).sum(-1) for leaf in leaves if leaf.grad is not None).detach()  # type: ignore


def test_fullgrad_plus_is_the_sum_over_blocks_and_biases(images: Tensor, targets: Tensor) -> None:
    classifier = double()
    ours = maps(classifier, images[:2], targets[:2])
    for i in range(2):
        inputs, biases = slow_full_gradient(classifier, images[i], int(targets[i]))
        plus = (inputs.sum(0) + biases)[1:].reshape(4, 4)
        torch.testing.assert_close(ours["libragrad_fullgrad_plus"][i], plus.float())
        torch.testing.assert_close(ours["libragrad_input_x_gradient"][i], inputs[0, 1:].reshape(4, 4).float())


def test_libra_gradient_at_pixels_is_cp_lrp(vit: Classifier, images: Tensor, targets: Tensor) -> None:
    found = maps(vit, images, targets, at="pixels")
    assert torch.equal(found["libragrad_input_x_gradient"], found["cp_lrp"])


# ---------------------------------------------------------------- the modified pass and the model


@pytest.mark.parametrize("attention", ["constant", "uniform"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_forward_is_unchanged(variant: str, attention: Any, images: Tensor) -> None:
    classifier = double(**VARIANTS[variant])
    expected = classifier(images.double())
    with modified_backward(classifier.backbone, attention):
        found = classifier(images.double())
    tolerance = 1e-5 if variant == "norm in float32" else 1e-10  # timm rounds there, the modified pass does not
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


def state(classifier: Classifier) -> list[Any]:
    facts: list[Any] = []
    for name, module in classifier.named_modules():
        facts += [name, sorted(module.__dict__), len(module._forward_hooks), len(module._forward_pre_hooks)]
        facts += [module.training, len(module._backward_hooks), module.__dict__.get("forward")]
    for name, parameter in classifier.named_parameters():
        facts += [name, id(parameter), parameter.requires_grad, parameter.grad, parameter._version]
    return facts


def test_the_model_is_left_as_it_was(images: Tensor, targets: Tensor) -> None:
    classifier = tiny_vit(2)
    before = state(classifier)
    maps(classifier, images, targets)
    assert state(classifier) == before


def test_the_model_is_left_as_it_was_after_an_error(images: Tensor, targets: Tensor) -> None:
    classifier = tiny_vit(2)

    def fail(*_: Any) -> None:
        raise RuntimeError("stop")

    handle = classifier.backbone.blocks[1].register_forward_hook(fail)  # type: ignore[index, union-attr]
    before = state(classifier)
    with pytest.raises(RuntimeError, match="stop"):
        maps(classifier, images, targets)
    assert state(classifier) == before
    handle.remove()


def test_a_forward_that_someone_else_replaced_comes_back(images: Tensor) -> None:
    classifier = tiny_vit(2)
    norm: Any = classifier.backbone.norm
    theirs = norm.forward
    norm.forward = theirs
    with modified_backward(classifier.backbone, "constant"):
        assert norm.forward is not theirs
    assert norm.__dict__["forward"] is theirs


def test_other_models_keep_their_gradients(images: Tensor) -> None:
    one, other = tiny_vit(2), tiny_vit(2)

    def gradient(model: Classifier) -> Tensor:
        x = images.clone().requires_grad_()
        return torch.autograd.grad(model(x)[:, 0].sum(), x)[0]

    plain = gradient(other)
    with modified_backward(one.backbone, "constant"):
        assert torch.equal(gradient(other), plain)
        assert not torch.allclose(gradient(one), plain)
    assert torch.equal(gradient(one), plain)


@pytest.mark.parametrize("variant", ["plain", "registers, layer scale, QuickGELU", "average pool with norm, tanh GELU"])
def test_a_batch_is_a_stack_of_singles(variant: str, images: Tensor, targets: Tensor) -> None:
    classifier = tiny_vit(3, **VARIANTS[variant])
    together = maps(classifier, images, targets)
    for i in range(len(images)):
        alone = maps(classifier, images[i : i + 1], targets[i : i + 1])
        for name in NAMES:
            scale = float(together[name][i].abs().max())
            torch.testing.assert_close(alone[name][0], together[name][i], rtol=1e-5, atol=1e-5 * scale)


def test_two_passes_give_four_maps(vit: Classifier, images: Tensor, targets: Tensor) -> None:
    with PassCounter(vit.backbone) as passes:
        maps(vit, images, targets)
    assert (passes.forwards, passes.backwards) == (10, 10)


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad])
def test_any_mode_of_the_caller(mode: Any, vit: Classifier, images: Tensor, targets: Tensor) -> None:
    expected = maps(vit, images, targets)
    with mode():
        found = maps(vit, images * 1, targets * 1)
    for name in NAMES:
        torch.testing.assert_close(found[name], expected[name])
        assert not found[name].requires_grad


def test_bfloat16_models_run_as_they_are(images: Tensor, targets: Tensor) -> None:
    found, expected = maps(tiny_vit(3).bfloat16(), images, targets), maps(tiny_vit(3), images, targets)
    for name in NAMES:
        assert found[name].dtype == torch.float32
        error = (found[name] - expected[name]).flatten(1).norm(dim=1) / expected[name].flatten(1).norm(dim=1)
        assert float(error.max()) < 0.1, name


def test_degenerate_images_stay_finite(vit: Classifier, targets: Tensor) -> None:
    constant = torch.stack([torch.zeros(3, 16, 16), torch.full((3, 16, 16), 0.5), torch.ones(3, 16, 16)])
    for found in maps(vit, constant, targets[:3]).values():
        assert bool(found.isfinite().all())


def test_a_gate_at_zero_is_one_half() -> None:
    classifier = tiny_vit(2)
    act: Any = classifier.backbone.blocks[0].mlp.act  # type: ignore[index, union-attr]
    x = torch.tensor([0.0, 1.0, -2.0], requires_grad=True)
    with modified_backward(classifier.backbone, "constant"):
        (gate,) = torch.autograd.grad(act(x).sum(), x)
    torch.testing.assert_close(gate, torch.tensor([0.5, 0.8413447, 0.0227501]))


@pytest.mark.parametrize(
    ("build_model", "words"),
    [
        (lambda: tiny_vit(0, global_pool="map", class_token=False), "attn_pool"),
        (lambda: tiny_vit(0, mlp_layer=timm.layers.SwiGLU), r"blocks.0.mlp.*SwiGLU"),
        (lambda: tiny_vit(0, attn_layer="diff"), "DiffAttention"),
        (lambda: tiny_vit(0, act_layer=nn.Tanh), "Tanh"),
        (lambda: Classifier(timm.create_model("resnet10t"), [0.5] * 3, [0.5] * 3), "ResNet"),
    ],
)
def test_models_without_rules_are_refused(build_model: Any, words: str, images: Tensor, targets: Tensor) -> None:
    with pytest.raises(InputError, match=words):
        maps(build_model(), images, targets)


def test_result_has_one_entry_an_image(vit: Classifier, images: Tensor, targets: Tensor) -> None:
    found: FullGradient = full_gradient(vit, images, targets, "uniform")
    assert found.pixels.shape == (5, 4, 4)
    assert found.inputs.shape == (5, 3, 17)
    assert found.biases.shape == (5, 17)
    assert found.pooled_biases.shape == found.score.shape == (5,)

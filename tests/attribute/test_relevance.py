"""LRP after Chefer et al.: golden maps of the reference, a slow textbook form, zennit for single rules, laws."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor, nn
from zennit.composites import LayerMapComposite
from zennit.rules import AlphaBeta, ZBox, ZPlus

from tests.conftest import tiny_vit
from vitfaith.attribute.context import Context
from vitfaith.attribute.explainers import relevance as explainers
from vitfaith.attribute.registry import EXPLAINERS
from vitfaith.attribute.relevance import rules
from vitfaith.attribute.relevance.relprop import propagate
from vitfaith.errors import ConfigError, InputError
from vitfaith.models.classifier import Classifier, build_backbone, freeze
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
    torch.manual_seed(5)
    arguments = {"img_size": 16, "patch_size": 4, "embed_dim": 24, "depth": 2, "num_heads": 3, "num_classes": 5}
    backbone = timm.create_model("deit_tiny_distilled_patch16_224", pretrained=False, **arguments)
    for parameter in backbone.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    return freeze(Classifier(backbone, [0.5] * 3, [0.25] * 3))


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


def golden() -> tuple[Classifier, dict[str, Tensor]]:
    arrays = load_file(Path(__file__).parents[1] / "data" / "relevance.safetensors")
    arguments = {"img_size": 32, "patch_size": 8, "embed_dim": 48, "depth": 4, "num_heads": 4, "num_classes": 10}
    backbone = build_backbone("vit_tiny_patch16_224", arguments)
    backbone.load_state_dict({k.removeprefix("weights."): v for k, v in arrays.items() if k.startswith("weights.")})
    return freeze(Classifier(backbone, [0.0] * 3, [1.0] * 3)), arrays


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


def test_explainers_give_the_golden_maps() -> None:
    classifier, arrays = golden()
    ours = maps(classifier, arrays["images"], arrays["target"])
    theirs = {name: arrays[f"map.{name}"] for name in ("transformer_attribution", "partial_lrp")}
    theirs["lrp_rollout"] = arrays["map.lrp_relevance_rollout"]
    theirs["lrp"] = arrays["map.lrp_pixels"].reshape(4, 4, 8, 4, 8).sum((2, 4))
    for name, expected in theirs.items():
        assert ours[name].dtype == torch.float32
        torch.testing.assert_close(ours[name].double(), expected, rtol=1e-5, atol=1e-6 * float(expected.abs().max()))


# ---------------------------------------------------------------- the textbook


def divide(a: float | Tensor, b: float | Tensor) -> Tensor:
    a, b = torch.as_tensor(a, dtype=torch.float64), torch.as_tensor(b, dtype=torch.float64)
    return torch.where(b == 0, 0.0, a / torch.where(b == 0, 1.0, b + 1e-9))


def slow_linear(x: Tensor, layer: nn.Linear, relevance: Tensor) -> Tensor:
    """Output by output: every positive contribution takes its share."""
    out = torch.zeros_like(x)
    for j, weights in enumerate(layer.weight.double()):
        up = (x * weights).clamp(min=0)
        out += divide(up * relevance[..., j : j + 1], up.sum(-1, keepdim=True))
    return out


def slow_product(a: Tensor, b: Tensor, relevance: Tensor) -> tuple[Tensor, Tensor]:
    """Entry by entry of a @ b: contribution a_id b_dj of the sum takes half its share for a_id and half for b_dj."""
    for_a, for_b = torch.zeros_like(a), torch.zeros_like(b)
    for i in range(a.shape[0]):
        for j in range(b.shape[1]):
            terms = a[i] * b[:, j]
            share = divide(terms * relevance[i, j], terms.sum()) / 2
            for_a[i] += share
            for_b[:, j] += share
    return for_a, for_b


def slow_sum(a: Tensor, b: Tensor, relevance: Tensor) -> tuple[Tensor, Tensor]:
    parts = [x * divide(relevance, a + b) for x in (a, b)]
    sums = [float(part.sum()) for part in parts]
    total = float(relevance.sum())
    wanted = [abs(s) / (abs(sums[0]) + abs(sums[1])) * total for s in sums]
    return parts[0] * wanted[0] / sums[0], parts[1] * wanted[1] / sums[1]


def slow_pixels(image: Tensor, convolution: nn.Conv2d, relevance: Tensor) -> Tensor:
    """zB, patch by patch and filter by filter; ``relevance`` is (rows, columns, D)."""
    low, high = image.min(), image.max()
    size = convolution.kernel_size[0]
    out = torch.zeros_like(image)
    for r in range(relevance.shape[0]):
        for c in range(relevance.shape[1]):
            window = (slice(None), slice(r * size, (r + 1) * size), slice(c * size, (c + 1) * size))
            for d, w in enumerate(convolution.weight.double()):
                terms = image[window] * w - low * w.clamp(min=0) - high * w.clamp(max=0)
                out[window] += divide(terms * relevance[r, c, d], terms.sum())
    return out


def textbook(classifier: Classifier, image: Tensor, target: int) -> dict[str, Tensor]:
    """All four maps of one image in float64: forward written out, gradients by autograd, rules in slow form."""
    import copy

    model = copy.deepcopy(classifier).double()
    net: Any = model.backbone
    two_heads = hasattr(net, "head_dist")
    pixels = (image.double() - model.mean[0]) / model.std[0]
    embedded = net.patch_embed.proj(pixels[None])[0].flatten(1).T
    names = ("cls_token", "dist_token", "reg_token")
    prefix = [getattr(net, n)[0] for n in names if getattr(net, n, None) is not None]
    p = sum(len(t) for t in prefix)
    position = torch.zeros(1, embedded.shape[1], dtype=torch.float64) if net.pos_embed is None else net.pos_embed[0]
    if net.no_embed_class or net.pos_embed is None:
        tokens = torch.cat([*prefix, embedded + position])
    else:
        tokens = torch.cat([*prefix, embedded]) + position
    x = net.norm_pre(tokens).detach().requires_grad_()

    kept, attentions = [], []
    for block in net.blocks:
        attn, k = block.attn, {"x": x}
        k["normed"] = block.norm1(x)
        qkv = attn.qkv(k["normed"]).reshape(len(x), 3, attn.num_heads, -1)
        k["q"], k["k"] = attn.q_norm(qkv[:, 0]), attn.k_norm(qkv[:, 1])
        k["v"] = qkv[:, 2]
        scores = torch.einsum("ihd,jhd->hij", k["q"], k["k"]) / math.sqrt(attn.head_dim)
        a = torch.exp(scores) / torch.exp(scores).sum(-1, keepdim=True)
        a.retain_grad()
        attentions.append(a)
        k["mixed"] = torch.einsum("hij,jhd->ihd", a, k["v"]).reshape(len(x), -1)
        k["branch1"] = block.ls1(attn.proj(k["mixed"]))
        k["middle"] = x + k["branch1"]
        k["mlp_in"] = block.norm2(k["middle"])
        k["expanded"] = block.mlp.act(block.mlp.fc1(k["mlp_in"]))
        k["branch2"] = block.ls2(block.mlp.fc2(k["expanded"]))
        x = k["middle"] + k["branch2"]
        kept.append(k)
    final = net.norm(x)
    start = 0 if net.pool_include_prefix else p
    if two_heads:
        inputs, rows = [final[0], final[1]], [0, 1]
        own = [net.head(inputs[0])[target] / 2, net.head_dist(inputs[1])[target] / 2]
        logit = own[0] + own[1]
    else:
        rows = [0] if net.global_pool == "token" else list(range(start, len(x)))
        inputs = [net.fc_norm(final[rows].mean(0))]
        logit = net.head(inputs[0])[target]
    logit.backward()
    kept = [{name: value.detach() for name, value in k.items()} for k in kept]
    final = final.detach()

    with torch.no_grad():
        relevance = torch.zeros_like(final)
        one = torch.zeros(net.num_classes, dtype=torch.float64)
        one[target] = 1
        if two_heads:
            whole = [slow_sum(own[0][None], own[1][None], torch.ones(1, dtype=torch.float64))[i] for i in (0, 1)]
            for row, head in enumerate((net.head, net.head_dist)):
                relevance[row] = slow_linear(inputs[row].detach(), head, one * whole[row])
        elif net.global_pool == "token":
            relevance[0] = slow_linear(inputs[0].detach(), net.head, one)
        else:
            pooled = slow_linear(inputs[0].detach(), net.head, one)
            positive = final[rows].clamp(min=0)
            relevance[rows] = divide(positive * pooled, positive.sum(0))
        by_layer: list[Tensor] = []
        for block, k in reversed(list(zip(net.blocks, kept, strict=True))):
            skip, branch = slow_sum(k["middle"], k["branch2"], relevance)
            through = slow_linear(k["mlp_in"], block.mlp.fc1, slow_linear(k["expanded"], block.mlp.fc2, branch))
            relevance = k["middle"] * (divide(skip, k["middle"]) + divide(through, k["middle"]))
            skip, branch = slow_sum(k["x"], k["branch1"], relevance)
            mixed = slow_linear(k["mixed"], block.attn.proj, branch).reshape(k["v"].shape)
            scores = torch.einsum("ihd,jhd->hij", k["q"], k["k"]) / math.sqrt(block.attn.head_dim)
            qkv = torch.zeros(len(relevance), 3, *k["v"].shape[1:], dtype=torch.float64)
            on_attention = torch.zeros_like(scores)
            for h in range(block.attn.num_heads):
                on_attention[h], qkv[:, 2, h] = slow_product(scores[h].softmax(-1), k["v"][:, h], mixed[:, h])
                qkv[:, 0, h], on_keys = slow_product(k["q"][:, h], k["k"][:, h].T, on_attention[h])
                qkv[:, 1, h] = on_keys.T
            through = slow_linear(k["normed"], block.attn.qkv, qkv.flatten(1))
            relevance = k["x"] * (divide(skip, k["x"]) + divide(through, k["x"]))
            by_layer.insert(0, on_attention)
        if net.pos_embed is None:
            relevance = relevance[p:]
        elif net.no_embed_class:
            relevance = slow_sum(embedded, position, relevance[p:])[0]
        else:
            relevance = slow_sum(torch.cat([*prefix, embedded]), position, relevance)[0][p:]
        on_pixels = slow_pixels(pixels, net.patch_embed.proj, relevance.reshape(4, 4, -1))

    def rollout(layers: list[Tensor]) -> Tensor:
        joint = torch.eye(len(final), dtype=torch.float64)
        for layer in layers:
            joint = (torch.eye(len(final), dtype=torch.float64) + layer) @ joint
        return joint

    def read(matrix: Tensor) -> Tensor:
        return matrix[rows].mean(0)[p:].reshape(4, 4)

    positive_layers = [r.clamp(min=0).mean(0) for r in by_layer]
    weighted = [(r * a.grad).clamp(min=0).mean(0) for r, a in zip(by_layer, attentions, strict=True)]  # type: ignore[operator]
    return {
        "lrp": on_pixels.sum(0).reshape(4, 4, 4, 4).sum((1, 3)),
        "partial_lrp": read(positive_layers[-1]),
        "transformer_attribution": read(rollout(weighted)),
        "lrp_rollout": read(rollout(positive_layers)),
    }


@pytest.mark.parametrize("variant", [*VARIANTS, "distilled"])
def test_textbook(variant: str, images: Tensor, targets: Tensor) -> None:
    classifier = build(variant)
    ours = maps(classifier, images[1:2], targets[1:2])
    slow = textbook(classifier, images[1], int(targets[1]))
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


def attribute(layer: nn.Module, rule: Any, x: Tensor, relevance: Tensor) -> Tensor:
    """What zennit's rule makes of ``relevance`` at the output of ``layer``."""
    x = x.clone().requires_grad_()
    model = nn.Sequential(layer)
    with LayerMapComposite([(type(layer), rule)]).context(model) as modified:
        (found,) = torch.autograd.grad(modified(x), x, relevance)
    return found


@pytest.mark.parametrize(
    "rule", [AlphaBeta(alpha=1, beta=0, stabilizer=1e-12, zero_params="bias"), ZPlus(1e-12, zero_params="bias")]
)
def test_linear_rule_is_zennits(rule: Any) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(7, 5).double()
    x, relevance = torch.randn(4, 7).double(), torch.randn(4, 5).double()
    ours = rules.linear(x, layer.weight.detach(), relevance)
    torch.testing.assert_close(ours, attribute(layer, rule, x, relevance), rtol=1e-6, atol=1e-7)


def test_pixel_rule_is_zennits() -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(3, 5, 4, 4).double()
    x, relevance = torch.randn(1, 3, 8, 8).double(), torch.randn(1, 5, 2, 2).double()
    ours = rules.pixels(x, layer.weight.detach(), (4, 4), relevance)
    box = ZBox(x.min(), x.max(), stabilizer=1e-12, zero_params="bias")
    torch.testing.assert_close(ours, attribute(layer, box, x, relevance), rtol=1e-6, atol=1e-7)


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


@pytest.mark.parametrize("variant", ["plain", "average pool", "distilled"])
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


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad, torch.enable_grad])
def test_any_mode_of_the_caller(mode: Any, images: Tensor, targets: Tensor) -> None:
    classifier = tiny_vit(2)
    expected = maps(classifier, images, targets)
    with mode():
        found = maps(classifier, images * 1, targets * 1)
    for name in NAMES:
        torch.testing.assert_close(found[name], expected[name])
        assert not found[name].requires_grad


def state(classifier: Classifier) -> list[Any]:
    facts: list[Any] = []
    for name, module in classifier.named_modules():
        facts += [name, sorted(module.__dict__), len(module._forward_hooks), len(module._forward_pre_hooks)]
        facts += [module.training, len(module._backward_hooks)]
    for name, parameter in classifier.named_parameters():
        facts += [
            name,
            id(parameter),
            parameter.data_ptr(),
            parameter.requires_grad,
            parameter.grad,
            parameter._version,
        ]
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
        (lambda: tiny_vit(0, global_pool="map", class_token=False), "attn_pool"),
        (lambda: tiny_vit(0, num_classes=0), "num_classes=0"),
        (lambda: tiny_vit(0, mlp_layer=timm.layers.SwiGLU), r"blocks.0.mlp.*SwiGLU"),
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
        "import sys; from vitfaith.attribute.explainers import relevance, gradient_rules;"
        "sys.exit('torch' in sys.modules or 'timm' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    for name in NAMES:
        entry = EXPLAINERS[name]
        assert entry.traits["family"] == "relevance"
        assert entry.module == explainers.__name__
        assert entry.traits["class_specific"]

"""Explainers that average gradients over noise or along a line: textbook loops, captum, txv, laws and costs."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
import txv.exp
import txv.models
from captum.attr import InputXGradient, IntegratedGradients, NoiseTunnel, Saliency
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.conftest import tiny_vit
from vitfaith.attribute.context import Context
from vitfaith.attribute.explainers.beyond_intuition import beyond_intuition_head, beyond_intuition_token
from vitfaith.attribute.explainers.integrated_gradients import integrated_gradients
from vitfaith.attribute.explainers.smoothgrad import SmoothgradParameters, smoothgrad
from vitfaith.attribute.explainers.tam import tam
from vitfaith.attribute.path_pass import BlockPathParameters, PathParameters, nodes, path_pass
from vitfaith.attribute.registry import EXPLAINERS
from vitfaith.errors import ConfigError, InputError
from vitfaith.models.classifier import Classifier
from vitfaith.models.passes import PassCounter
from vitfaith.rng import normal

PAPER = {"steps": 20, "rule": "uniform", "baseline": "model_mean"}
METHODS: list[tuple[Any, Any]] = [
    (smoothgrad, SmoothgradParameters(samples=5)),
    (smoothgrad, SmoothgradParameters(samples=5, quantity="input_x_gradient", statistic="variance")),
    (integrated_gradients, PathParameters(steps=5, baseline="image_mean")),
    (tam, BlockPathParameters(steps=5)),
    (beyond_intuition_head, BlockPathParameters(steps=5, start=1)),
    (beyond_intuition_token, BlockPathParameters(steps=5, rule="uniform", baseline="value", value=0.2)),
]
NAMES = [f"{method.__name__}-{i}" for i, (method, _) in enumerate(METHODS)]


def make(
    classifier: Classifier, images: Tensor, targets: Tensor, ids: list[str], *methods: str, **settings: Any
) -> Context:
    needs = frozenset(need for name in methods for need in EXPLAINERS[name].traits["needs"])
    return Context(classifier, images, targets, ids, needs=needs, **settings)


class Reference:
    """One image through a double-precision, unfused copy of the model; attention and its gradient from autograd."""

    def __init__(self, classifier: Classifier, image: Tensor, target: int) -> None:
        self.model = copy.deepcopy(classifier).double()
        attention: list[Tensor] = []
        handles = []
        for block in self.model.backbone.blocks:
            block.attn.fused_attn = False
            handles.append(block.attn.attn_drop.register_forward_hook(lambda _m, _i, output: attention.append(output)))
        self.image = image.double()[None].requires_grad_()
        self.inputs: list[Tensor] = []
        for block in self.model.backbone.blocks:
            handles.append(block.register_forward_pre_hook(lambda _m, args: self.inputs.append(args[0])))
        logit = self.model(self.image)[0, target]
        gradients = torch.autograd.grad(logit, [self.image, *attention])
        for handle in handles:
            handle.remove()
        self.logit = float(logit.detach())
        self.input_gradient = gradients[0][0]
        self.attention = [a.detach()[0] for a in attention]
        self.attention_gradient = [g[0] for g in gradients[1:]]


def line(classifier: Classifier, image: Tensor, target: int, steps: int) -> list[Reference]:
    """The authors' points: equidistant from the normalised input 0, both ends included."""
    base = classifier.mean[0].double()
    return [Reference(classifier, base + alpha * (image.double() - base), target) for alpha in np.linspace(0, 1, steps)]


# ---------------------------------------------------------------- integration


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 24), st.data())
def test_gauss_legendre_is_exact_for_polynomials(steps: int, data: st.DataObject) -> None:
    degree = data.draw(st.integers(0, 2 * steps - 1))
    points, weights = nodes("gauss_legendre", steps)
    assert sum(w * p**degree for p, w in zip(points, weights, strict=True)) == pytest.approx(1 / (degree + 1), rel=1e-9)
    assert all(0 < p < 1 for p in points)


def test_uniform_points_are_the_authors() -> None:
    assert nodes("uniform", 5) == ([0, 0.25, 0.5, 0.75, 1], [0.2] * 5)
    assert nodes("uniform", 1) == ([1.0], [1.0])


@pytest.mark.parametrize(("baseline", "start"), [("black", 0.0), ("model_mean", 0.5)])
def test_integrated_gradients_equal_captum(
    vit: Classifier, images: Tensor, targets: Tensor, image_ids: list[str], baseline: Any, start: float
) -> None:
    ours = integrated_gradients(make(vit, images, targets, image_ids), PathParameters(steps=8, baseline=baseline))
    theirs = IntegratedGradients(vit).attribute(
        images, torch.full_like(images, start), target=targets, n_steps=8, method="gausslegendre"
    )
    expected = theirs.float().sum(1).view(5, 4, 4, 4, 4).sum((2, 4))
    assert float((ours - expected).abs().max() / expected.abs().max()) < 1e-5


def test_integrated_gradients_equal_the_textbook_sum(
    vit: Classifier, images: Tensor, targets: Tensor, image_ids: list[str]
) -> None:
    ours = integrated_gradients(
        make(vit, images, targets, image_ids), PathParameters(steps=3, baseline="value", value=0.25)
    )
    points, weights = nodes("gauss_legendre", 3)
    total = torch.zeros(3, 16, 16, dtype=torch.float64)
    for alpha, weight in zip(points, weights, strict=True):
        image = 0.25 + alpha * (images[1].double() - 0.25)
        total += weight * Reference(vit, image, int(targets[1])).input_gradient
    field = (images[1].double() - 0.25) * total
    for row in range(4):
        for column in range(4):
            patch = field[:, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4].sum()
            assert float(ours[1, row, column]) == pytest.approx(float(patch), abs=2e-5)


def test_integrated_gradients_are_complete(
    vit: Classifier, images: Tensor, targets: Tensor, image_ids: list[str]
) -> None:
    with torch.no_grad():
        ends = vit(images) - vit(vit.mean.expand_as(images))
    total = ends.gather(1, targets[:, None])[:, 0]

    def gap(**settings: Any) -> float:
        maps = integrated_gradients(make(vit, images, targets, image_ids), PathParameters(**settings))
        return float((maps.sum((1, 2)) - total).abs().max() / total.abs().max())

    assert gap() < 1e-3
    assert gap(steps=64) < 1e-4
    assert gap(rule="uniform") > gap()


# ---------------------------------------------------------------- noise


@pytest.mark.parametrize("quantity", ["gradient", "saliency", "input_x_gradient"])
@pytest.mark.parametrize("statistic", ["mean", "square", "variance"])
def test_smoothgrad_equals_the_textbook_loop(
    vit: Classifier, images: Tensor, targets: Tensor, image_ids: list[str], quantity: Any, statistic: Any
) -> None:
    parameters = SmoothgradParameters(samples=4, noise=0.3, quantity=quantity, statistic=statistic, channels="mean")
    ours = smoothgrad(make(vit, images, targets, image_ids, seed=5, batch_size=7, sample=2), parameters)
    for i in range(2):
        values = []
        for copy_ in range(4):
            draw = normal(5, [image_ids[i]], f"smoothgrad-{copy_}", (3, 16, 16), 2)[0].double()
            noisy = images[i].double() + 0.3 * float(images[i].max() - images[i].min()) * draw
            gradient = Reference(vit, noisy, int(targets[i])).input_gradient
            values.append(
                {"gradient": gradient, "saliency": gradient.abs(), "input_x_gradient": noisy * gradient}[quantity]
            )
        stack = torch.stack(values)
        field = {
            "mean": stack.mean(0),
            "square": (stack**2).mean(0),
            "variance": stack.var(0, unbiased=False),
        }[statistic]
        if quantity == "input_x_gradient":
            expected = field.sum(0).view(4, 4, 4, 4).sum((1, 3))
        else:
            expected = field.abs().mean(0).view(4, 4, 4, 4).mean((1, 3))
        assert torch.allclose(ours[i].double(), expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))


def test_smoothgrad_without_noise_is_saliency(
    vit: Classifier, images: Tensor, targets: Tensor, image_ids: list[str]
) -> None:
    context = make(vit, images, targets, image_ids)
    ours = smoothgrad(context, SmoothgradParameters(samples=1, noise=0))
    theirs = Saliency(vit).attribute(images, target=targets).amax(1).view(5, 4, 4, 4, 4).mean((2, 4))
    assert torch.allclose(ours, theirs, rtol=1e-5)
    ours = smoothgrad(context, SmoothgradParameters(samples=1, noise=0, quantity="input_x_gradient"))
    theirs = InputXGradient(vit).attribute(images, target=targets).sum(1).view(5, 4, 4, 4, 4).sum((2, 4))
    assert torch.allclose(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("statistic", "nt_type"), [("mean", "smoothgrad"), ("square", "smoothgrad_sq"), ("variance", "vargrad")]
)
def test_smoothgrad_agrees_with_captum_within_chance(
    vit: Classifier, images: Tensor, targets: Tensor, image_ids: list[str], statistic: Any, nt_type: str
) -> None:
    """Captum draws from the global state: the two must differ no more than two of its own runs, give or take."""
    image, target = images[:1], targets[:1]
    deviation = 0.1 * float(image.max() - image.min())

    def captum(seed: int) -> Tensor:
        state = torch.random.get_rng_state()
        torch.manual_seed(seed)
        found = NoiseTunnel(Saliency(vit)).attribute(
            image, nt_type=nt_type, nt_samples=200, stdevs=deviation, target=target
        )
        torch.random.set_rng_state(state)
        return found.detach().mean(1).view(4, 4, 4, 4).mean((1, 3))

    ours = smoothgrad(
        make(vit, image, target, image_ids[:1]),
        SmoothgradParameters(samples=200, noise=0.1, quantity="saliency", statistic=statistic, channels="mean"),
    )[0]
    first, second = captum(0), captum(1)
    assert float((ours - first).norm()) < 2 * float((first - second).norm())
    assert float((ours - first).norm() / first.norm()) < 0.15


def test_more_samples_keep_the_first_ones(
    vit: Classifier, images: Tensor, targets: Tensor, image_ids: list[str]
) -> None:
    context = make(vit, images, targets, image_ids)
    settings = {"quantity": "input_x_gradient"}
    two, three = (smoothgrad(context, SmoothgradParameters(samples=n, **settings)) for n in (2, 3))
    third = torch.stack([normal(0, image_ids, f"smoothgrad-{i}", (3, 16, 16)) for i in range(3)])[2]
    spread = 0.15 * (images.amax((1, 2, 3)) - images.amin((1, 2, 3)))
    alone = smoothgrad(
        make(vit, images + spread.view(-1, 1, 1, 1) * third, targets, image_ids),
        SmoothgradParameters(samples=1, noise=0, **settings),
    )
    assert torch.allclose(three, (2 * two + alone) / 3, rtol=1e-4, atol=1e-5)


# ---------------------------------------------------------------- attention along the line


def textbook_tam(reference: Reference, path: list[Reference], prefix: int, start: int) -> Tensor:
    """Yuan et al.: state vector of the class token, one token at a time."""
    tokens = reference.attention[0].shape[-1]
    state = reference.attention[-1].mean(0)[0]
    for attention in reversed(reference.attention[start:-1]):
        mixed = attention.mean(0)
        state = torch.stack([state[j] + sum(state[i] * mixed[i, j] for i in range(tokens)) for j in range(tokens)])
    gradient = sum(r.attention_gradient[-1] for r in path) / len(path)
    weight = gradient.clamp(min=0).mean(0)[0]
    return (state * weight)[prefix:].view(4, 4)


def textbook_rollout(transitions: list[Tensor], path: list[Reference], prefix: int) -> Tensor:
    """Chen et al.: the whole relation matrix, block by block from the input."""
    relation = torch.eye(len(transitions[0]), dtype=torch.float64)
    for transition in transitions:
        relation = relation + transition @ relation
    gradient = sum(r.attention_gradient[-1] for r in path) / len(path)
    return (relation * gradient.clamp(min=0).mean(0))[0, prefix:].view(4, 4)


def head_transitions(reference: Reference) -> list[Tensor]:
    found = []
    for attention, gradient in zip(reference.attention, reference.attention_gradient, strict=True):
        importance = torch.stack([(a.T @ g).abs().mean() for a, g in zip(attention, gradient, strict=True)])
        found.append(sum(i * a for i, a in zip(importance / importance.sum(), attention, strict=True)))
    return found


def token_transitions(reference: Reference) -> list[Tensor]:
    found = []
    for block, attention, tokens in zip(
        reference.model.backbone.blocks, reference.attention, reference.inputs, strict=True
    ):
        width = tokens.shape[-1]
        values = block.attn.qkv(block.norm1(tokens))[0, :, 2 * width :]
        ratios = [
            float((block.attn.proj.weight @ value).norm() / token.norm())
            for value, token in zip(values.detach(), tokens[0].detach(), strict=True)
        ]
        found.append(attention.mean(0) @ torch.diag(torch.tensor(ratios, dtype=torch.float64)))
    return found


@pytest.mark.parametrize("registers", [0, 2])
@pytest.mark.parametrize("start", [0, 1])
def test_attention_methods_equal_the_textbook_loops(
    images: Tensor, targets: Tensor, image_ids: list[str], registers: int, start: int
) -> None:
    classifier = tiny_vit(3, reg_tokens=registers)
    names = ("tam", "beyond_intuition_head", "beyond_intuition_token")
    context = make(classifier, images, targets, image_ids, *names, batch_size=8)
    parameters = BlockPathParameters(steps=4, rule="uniform", baseline="model_mean", start=start)
    ours = {name: EXPLAINERS[name].implementation(context, parameters) for name in names}
    for i in range(2):
        reference = Reference(classifier, images[i], int(targets[i]))
        path = line(classifier, images[i], int(targets[i]), 4)
        prefix = 1 + registers
        expected = {
            "tam": textbook_tam(reference, path, prefix, start),
            "beyond_intuition_head": textbook_rollout(head_transitions(reference)[start:], path, prefix),
            "beyond_intuition_token": textbook_rollout(token_transitions(reference)[start:], path, prefix),
        }
        for name in names:
            error = (ours[name][i].double() - expected[name]).abs().max() / expected[name].abs().max()
            assert float(error) < 1e-5, name


def txv_model(classifier: Classifier) -> Any:
    """The same network in txv's own class; its norms get timm's epsilon."""
    model = txv.models.VisionTransformer(
        img_size=16,
        patch_size=4,
        num_classes=5,
        embed_dim=24,
        depth=3,
        num_heads=3,
        mlp_ratio=2.0,
        qkv_bias=True,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
    )
    model.load_state_dict(classifier.backbone.state_dict(), strict=True)
    return model.eval()


def test_tam_equals_txv(vit: Classifier, images: Tensor, targets: Tensor, image_ids: list[str]) -> None:
    explainer = txv.exp.TAM(txv_model(vit))
    ours = tam(make(vit, images, targets, image_ids, "tam"), BlockPathParameters(**PAPER))
    for i in range(3):
        theirs = explainer.explain(((images[i] - 0.5) / 0.25)[None], index=int(targets[i]), steps=20)
        theirs = theirs.detach().view(4, 4)
        assert float((ours[i] - theirs).abs().max() / theirs.abs().max()) < 1e-5


@pytest.mark.parametrize("kind", ["head", "token"])
def test_beyond_intuition_equals_txv(
    vit: Classifier, images: Tensor, targets: Tensor, image_ids: list[str], kind: Any
) -> None:
    """Up to txv's min-max of the gradients, a factor; one point at α = 1, since txv's points leave out α = 0."""
    explainer = txv.exp.BeyondIntuition(txv_model(vit))
    name = f"beyond_intuition_{kind}"
    context = make(vit, images, targets, image_ids, name)
    ours = EXPLAINERS[name].implementation(context, BlockPathParameters(steps=1, rule="uniform"))
    for i in range(3):
        image = ((images[i] - 0.5) / 0.25)[None]
        theirs = explainer.explain(image, method=kind, index=int(targets[i]), steps=1).detach().view(4, 4)
        assert float((ours[i] / ours[i].max() - theirs / theirs.max()).abs().max()) < 1e-5


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
    context = make(classifier, images, targets, image_ids, "tam", "beyond_intuition_head", "beyond_intuition_token")
    for method, parameters in METHODS:
        maps = method(context, parameters)
        assert maps.shape == (5, *classifier.grid)
        assert bool(torch.isfinite(maps).all())
        assert float(maps.std()) > 0


def test_pooled_models_average_over_the_rows_they_read(images: Tensor, targets: Tensor, image_ids: list[str]) -> None:
    classifier = tiny_vit(1, class_token=False, global_pool="avg")
    context = make(classifier, images, targets, image_ids, "beyond_intuition_head")
    ours = beyond_intuition_head(context, BlockPathParameters(steps=3, rule="uniform"))
    reference = Reference(classifier, images[0], int(targets[0]))
    path = line(classifier, images[0], int(targets[0]), 3)
    relation = torch.eye(16, dtype=torch.float64)
    for transition in head_transitions(reference):
        relation = relation + transition @ relation
    gradient = (sum(r.attention_gradient[-1] for r in path) / 3).clamp(min=0).mean(0)
    expected = (relation * gradient).mean(0).view(4, 4)
    assert float((ours[0] - expected).abs().max() / expected.abs().max()) < 1e-5


def test_start_must_exist(vit: Classifier, images: Tensor, targets: Tensor, image_ids: list[str]) -> None:
    for name in ("tam", "beyond_intuition_head", "beyond_intuition_token"):
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


# ---------------------------------------------------------------- laws


@pytest.mark.parametrize(("method", "parameters"), METHODS, ids=NAMES)
def test_a_batch_is_a_stack_of_singles(
    vit: Classifier, images: Tensor, targets: Tensor, image_ids: list[str], method: Any, parameters: Any
) -> None:
    name = method.__name__
    together = method(make(vit, images, targets, image_ids, name, seed=3), parameters)
    assert together.shape == (5, 4, 4)
    assert together.dtype == torch.float32
    order = [4, 0, 2]
    ids = [image_ids[i] for i in order]
    scale = float(together.abs().max())
    for size in (2, 7):
        shuffled = method(make(vit, images[order], targets[order], ids, name, seed=3, batch_size=size), parameters)
        assert torch.allclose(shuffled, together[order], rtol=1e-5, atol=1e-5 * scale)
    single = method(make(vit, images[[1]], targets[[1]], [image_ids[1]], name, seed=3, batch_size=1), parameters)
    assert torch.allclose(single[0], together[1], rtol=1e-5, atol=1e-5 * scale)


@pytest.mark.parametrize(("method", "parameters"), METHODS, ids=NAMES)
def test_nothing_is_left_behind(
    images: Tensor, targets: Tensor, image_ids: list[str], method: Any, parameters: Any
) -> None:
    classifier = tiny_vit().requires_grad_(True)
    before = {name: value.clone() for name, value in classifier.state_dict().items()}
    plain = method(make(classifier, images, targets, image_ids, method.__name__), parameters)
    with torch.inference_mode():
        inside = method(make(classifier, images.clone(), targets.clone(), image_ids, method.__name__), parameters)
    with torch.no_grad():
        quiet = method(make(classifier, images, targets, image_ids, method.__name__), parameters)
    assert torch.equal(plain, inside)
    assert torch.equal(plain, quiet)
    assert not plain.requires_grad
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in classifier.modules())
    assert not classifier.training
    assert all(p.requires_grad and p.grad is None for p in classifier.parameters())
    assert all(torch.equal(before[name], value) for name, value in classifier.state_dict().items())


@pytest.mark.parametrize(("method", "parameters"), METHODS, ids=NAMES)
def test_half_precision_models_run(
    images: Tensor, targets: Tensor, image_ids: list[str], method: Any, parameters: Any
) -> None:
    classifier = tiny_vit().to(torch.bfloat16)
    maps = method(make(classifier, images, targets, image_ids, method.__name__), parameters)
    assert maps.dtype == torch.float32
    assert bool(torch.isfinite(maps).all())


@pytest.mark.parametrize(("method", "parameters"), METHODS, ids=NAMES)
def test_maps_depend_on_the_class(
    vit: Classifier, images: Tensor, targets: Tensor, image_ids: list[str], method: Any, parameters: Any
) -> None:
    first = method(make(vit, images, targets, image_ids, method.__name__), parameters)
    second = method(make(vit, images, (targets + 1) % 5, image_ids, method.__name__), parameters)
    assert not torch.allclose(first, second, rtol=1e-2)


# ---------------------------------------------------------------- costs


@pytest.mark.parametrize(
    ("method", "parameters", "forwards", "backwards"),
    [
        (smoothgrad, SmoothgradParameters(samples=6), 6, 6),
        (integrated_gradients, PathParameters(steps=6), 6, 6),
        (tam, BlockPathParameters(steps=6), 7, 6),
        (beyond_intuition_head, BlockPathParameters(steps=6), 7, 7),
        (beyond_intuition_token, BlockPathParameters(steps=6), 7, 6),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_cost(
    vit: Classifier,
    images: Tensor,
    targets: Tensor,
    image_ids: list[str],
    method: Any,
    parameters: Any,
    forwards: int,
    backwards: int,
) -> None:
    sizes: list[int] = []
    handle = vit.backbone.register_forward_hook(lambda _m, _i, output: sizes.append(len(output)))
    with PassCounter(vit.backbone) as passes:
        method(make(vit, images, targets, image_ids, method.__name__, batch_size=12), parameters)
    handle.remove()
    assert passes.forwards == sum(sizes) == 5 * forwards
    assert passes.backwards == 5 * backwards
    assert max(sizes) <= 12


def test_equal_settings_share_the_line(vit: Classifier, images: Tensor, targets: Tensor, image_ids: list[str]) -> None:
    """Integrated gradients, TAM and both Beyond Intuition methods: one line, whatever the order."""
    names = ["integrated_gradients", "tam", "beyond_intuition_head", "beyond_intuition_token"]
    alone = {}
    for name in names:
        parameters = EXPLAINERS[name].parameters(steps=6)
        alone[name] = EXPLAINERS[name].implementation(make(vit, images, targets, image_ids, name), parameters)
    for order in (names, names[::-1]):
        context = make(vit, images, targets, image_ids, *names)
        with PassCounter(vit.backbone) as passes:
            for name in order:
                parameters = EXPLAINERS[name].parameters(steps=6)
                maps = EXPLAINERS[name].implementation(context, parameters)
                assert torch.allclose(maps, alone[name], rtol=1e-5, atol=1e-6 * float(maps.abs().max()))
        assert passes.forwards == passes.backwards == 5 * (6 + 1)


def test_defaults_share_the_line() -> None:
    line = PathParameters().model_dump()
    for name in ("integrated_gradients", "tam", "beyond_intuition_head", "beyond_intuition_token"):
        settings = EXPLAINERS[name].parameters().model_dump()
        assert {key: settings[key] for key in line} == line


def test_other_settings_are_another_line(
    vit: Classifier, images: Tensor, targets: Tensor, image_ids: list[str]
) -> None:
    context = make(vit, images, targets, image_ids)
    lines = [
        path_pass(context, PathParameters(steps=3, **settings)).input_gradient
        for settings in ({}, {"rule": "uniform"}, {"baseline": "black"}, {"baseline": "value", "value": 0.1})
    ]
    for i in range(4):
        for j in range(i):
            assert not torch.allclose(lines[i], lines[j], rtol=1e-3)

"""Integrated gradients, SmoothGrad, and the line that all path explainers share: rules, completeness, costs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.explainers.textbook import path as textbook
from vitfaith.explainers.beyond_intuition import beyond_intuition_head, beyond_intuition_token
from vitfaith.explainers.expected_gradients import ExpectedGradientsParameters, expected_gradients
from vitfaith.explainers.integrated_gradients import IntegratedGradientsParameters, integrated_gradients
from vitfaith.explainers.passes.context import Context
from vitfaith.explainers.passes.path_pass import BlockPathParameters, PathParameters, nodes, path_pass
from vitfaith.explainers.registry import EXPLAINERS
from vitfaith.explainers.smoothgrad import SmoothgradParameters, smoothgrad
from vitfaith.explainers.tam import tam
from vitfaith.models.classifier import Classifier
from vitfaith.models.passes import PassCounter
from vitfaith.rng import normal


def make(
    classifier: Classifier, images: Tensor, targets: Tensor, ids: list[str], *methods: str, **settings: Any
) -> Context:
    needs = frozenset(need for name in methods for need in EXPLAINERS[name].traits["needs"])
    return Context(classifier, images, targets, ids, needs=needs, **settings)


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


def test_integrated_gradients_are_complete(
    vit: Classifier, images: Tensor, targets: Tensor, image_ids: list[str]
) -> None:
    with torch.no_grad():
        ends = vit(images) - vit(vit.mean.expand_as(images))
    total = ends.gather(1, targets[:, None])[:, 0]

    def gap(**settings: Any) -> float:
        parameters = IntegratedGradientsParameters(**settings)
        maps = integrated_gradients(make(vit, images, targets, image_ids), parameters)
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
    how = {"quantity": quantity, "statistic": statistic, "channels": "mean"}
    for i in range(2):
        draws = [normal(5, [image_ids[i]], f"smoothgrad-{copy_}", (3, 16, 16), 2)[0] for copy_ in range(4)]
        field = textbook.smoothgrad(vit, images[i], int(targets[i]), draws, 0.3, **how)
        expected = textbook.in_patches(field, (4, 4)) / (1 if quantity == "input_x_gradient" else 16)
        assert torch.allclose(ours[i].double(), expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))


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


# ---------------------------------------------------------------- costs


@pytest.mark.parametrize(
    ("method", "parameters", "forwards", "backwards"),
    [
        (smoothgrad, SmoothgradParameters(samples=6), 6, 6),
        (expected_gradients, ExpectedGradientsParameters(samples=6), 6, 6),
        (integrated_gradients, IntegratedGradientsParameters(steps=6), 6, 6),
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

"""Sensitivity to noise by hand, its flags and its cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.sanity.oracles.packages import captum_maximum
from vitfaith import rng
from vitfaith.errors import InputError
from vitfaith.models.classifier import Classifier
from vitfaith.sanity.registry import Subject
from vitfaith.sanity.sensitivity import Sensitivity, sensitivity

Explain = Callable[[Tensor, Tensor], Tensor]


def one(
    explain: Explain, images: Tensor, targets: Tensor, ids: Sequence[str], seed: int = 0, **options: Any
) -> Sensitivity:
    """Sensitivity of one explainer that looks at (images, targets) alone."""

    def maps(_classifier: object, x: Tensor, y: Tensor, _ids: object, margin: float = 0.0) -> dict[str, Tensor]:
        return {"m": explain(x, y)}

    subject = Subject(None, maps, images, targets, ids, maps(None, images, targets, ids), seed, None)  # type: ignore[arg-type]
    return sensitivity(subject, **options)["m"]


def gradient_maps(classifier: Classifier, images: Tensor, targets: Tensor) -> Tensor:
    with torch.enable_grad():
        leaf = images.detach().clone().requires_grad_(True)
        score = classifier(leaf).gather(1, targets[:, None]).sum()
        (gradient,) = torch.autograd.grad(score, leaf)
    return gradient.abs().sum(1).unflatten(1, (4, 4)).unflatten(3, (4, 4)).mean((2, 4))


def test_the_average_is_no_larger_than_the_maximum(
    vit: Classifier, images: Tensor, targets: Tensor, image_ids: list[str]
) -> None:
    found = one(lambda x, y: gradient_maps(vit, x, y), images, targets, image_ids, 3, radius=0.05, samples=4)
    assert (found.average <= found.maximum).all()
    assert found.flags == [""] * 5


def test_linear_explainer_by_hand() -> None:
    images = torch.tensor([[[[0.5, 0.25]]], [[[0.0, 0.0]]]])
    result = one(lambda x, y: 3 * x[:, 0], images, torch.tensor([0, 0]), ["a", "b"], radius=0.1, samples=3)
    changes = []
    for s in range(3):
        delta = (2 * rng.uniform(0, ["a"], "sensitivity", (1, 1, 2), s) - 1) * 0.1
        changes.append(float(delta.norm() / images[0].norm()))
    assert float(result.maximum[0]) == pytest.approx(max(changes), rel=1e-5)
    assert float(result.average[0]) == pytest.approx(sum(changes) / 3, rel=1e-5)
    assert float(result.lipschitz[0]) == pytest.approx(3, rel=1e-5)
    assert result.flags == ["", "zero"]
    assert result.maximum.isnan().tolist() == [False, True]


def test_noise_does_not_depend_on_the_batch(
    vit: Classifier, images: Tensor, targets: Tensor, image_ids: list[str]
) -> None:
    def explain(x: Tensor, y: Tensor) -> Tensor:
        return gradient_maps(vit, x, y)

    together = one(explain, images, targets, image_ids, samples=2)
    for i in range(5):
        alone = one(explain, images[i : i + 1], targets[i : i + 1], image_ids[i : i + 1], samples=2)
        torch.testing.assert_close(alone.maximum[0], together.maximum[i], rtol=1e-5, atol=0)
        torch.testing.assert_close(alone.lipschitz[0], together.lipschitz[i], rtol=1e-5, atol=0)


def test_clipped_images_stay_in_range_and_cost_one_explanation_a_sample() -> None:
    seen: list[Tensor] = []

    def explain(x: Tensor, y: Tensor) -> Tensor:
        seen.append(x)
        return x[:, 0] + 1 + torch.arange(4.0).view(2, 2)  # no constant map, which would be flagged

    images = torch.cat([torch.zeros(1, 1, 2, 2), torch.ones(2, 1, 2, 2)])
    result = one(explain, images, torch.zeros(3, dtype=torch.long), ["a", "b", "c"], samples=4)
    assert len(seen) == 1 + 4
    assert all(float(x.min()) >= 0 and float(x.max()) <= 1 for x in seen)
    assert result.flags == ["", "", ""]


def test_noise_that_is_not_clipped_is_captums() -> None:
    """Images of the whole range, so that a part of the noise leaves [0, 1]."""
    found, expected = captum_maximum(0.0, clip=False)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=0)
    clipped, _ = captum_maximum(0.0)
    assert not torch.allclose(clipped, expected, rtol=1e-3)


def test_maps_that_rank_nothing_are_flagged() -> None:
    images = torch.full((2, 1, 1, 2), 0.5)
    images[1, 0, 0, 1] = 0.6
    result = one(lambda x, y: x[:, 0] * 1, images, torch.tensor([0, 0]), ["a", "b"], samples=2)
    assert result.flags == ["constant", ""]
    assert result.maximum.isnan().tolist() == [True, False]


def test_not_finite_maps_are_flagged() -> None:
    images = torch.full((1, 1, 1, 2), 0.5)
    result = one(lambda x, y: torch.log(x[:, 0] - 0.5), images, torch.tensor([0]), ["a"], samples=2)
    assert result.flags == ["nan"]
    assert bool(result.average.isnan())


def test_bad_arguments() -> None:
    with pytest.raises(InputError, match="radius"):
        one(lambda x, y: x[:, 0], torch.zeros(1, 1, 1, 1), torch.zeros(1).long(), ["a"], radius=0)

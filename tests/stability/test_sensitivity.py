"""Sensitivity to noise against captum and by hand."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from captum.metrics import sensitivity_max
from torch import Tensor

from vitfaith import rng
from vitfaith.errors import InputError
from vitfaith.models.classifier import Classifier
from vitfaith.stability.sensitivity import sensitivity


def gradient_maps(classifier: Classifier, images: Tensor, targets: Tensor) -> Tensor:
    with torch.enable_grad():
        leaf = images.detach().clone().requires_grad_(True)
        score = classifier(leaf).gather(1, targets[:, None]).sum()
        (gradient,) = torch.autograd.grad(score, leaf)
    return gradient.abs().sum(1).unflatten(1, (4, 4)).unflatten(3, (4, 4)).mean((2, 4))


def test_maximum_equals_captum(vit: Classifier, images: Tensor, targets: Tensor, image_ids: list[str]) -> None:
    inside = 0.2 + 0.6 * images
    ours = sensitivity(
        lambda x, y, _: gradient_maps(vit, x, y), inside, targets, image_ids, radius=0.05, samples=4, seed=3
    )
    draws = [(2 * rng.uniform(3, image_ids, "sensitivity", (3, 16, 16), s) - 1) * 0.05 for s in range(4)]

    def perturb(repeated: Tensor) -> tuple[Tensor]:
        # captum repeats each image n times in a row
        return (repeated + torch.stack(draws, 1).flatten(0, 1),)

    expected = sensitivity_max(
        lambda x, target: (gradient_maps(vit, x[0], target),),  # captum passes tuples and wants them back
        inside,
        perturb_func=perturb,
        n_perturb_samples=4,
        target=targets,
    )
    torch.testing.assert_close(ours.maximum.float(), expected, rtol=1e-4, atol=0)
    assert (ours.average <= ours.maximum).all()
    assert ours.flags == [""] * 5


def test_linear_explainer_by_hand() -> None:
    images = torch.tensor([[[[0.5, 0.25]]], [[[0.0, 0.0]]]])
    ids = ["a", "b"]
    result = sensitivity(lambda x, y, i: 3 * x[:, 0], images, torch.tensor([0, 0]), ids, radius=0.1, samples=3)
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
    def explain(x: Tensor, y: Tensor, _: Sequence[str]) -> Tensor:
        return gradient_maps(vit, x, y)

    together = sensitivity(explain, images, targets, image_ids, samples=2, batch_size=2)
    for i in range(5):
        alone = sensitivity(explain, images[i : i + 1], targets[i : i + 1], image_ids[i : i + 1], samples=2)
        torch.testing.assert_close(alone.maximum[0], together.maximum[i], rtol=1e-5, atol=0)
        torch.testing.assert_close(alone.lipschitz[0], together.lipschitz[i], rtol=1e-5, atol=0)


def test_clipped_images_stay_in_range_and_cost_one_explanation_a_sample() -> None:
    seen: list[Tensor] = []

    def explain(x: Tensor, y: Tensor, ids: Sequence[str]) -> Tensor:
        assert len(x) == len(y) == len(ids) <= 2
        seen.append(x)
        return x[:, 0] + 1

    images = torch.cat([torch.zeros(1, 1, 2, 2), torch.ones(2, 1, 2, 2)])
    result = sensitivity(explain, images, torch.zeros(3, dtype=torch.long), ["a", "b", "c"], samples=4, batch_size=2)
    assert sum(len(x) for x in seen) == 3 * (1 + 4)
    assert all(float(x.min()) >= 0 and float(x.max()) <= 1 for x in seen)
    assert result.flags == ["", "", ""]


def test_not_finite_maps_are_flagged() -> None:
    images = torch.full((1, 1, 1, 2), 0.5)
    result = sensitivity(lambda x, y, i: torch.log(x[:, 0] - 0.5), images, torch.tensor([0]), ["a"], samples=2)
    assert result.flags == ["nan"]
    assert bool(result.average.isnan())


def test_bad_arguments() -> None:
    images, targets = torch.zeros(2, 1, 1, 1), torch.zeros(2, dtype=torch.long)
    with pytest.raises(InputError, match="image_ids"):
        sensitivity(lambda x, y, i: x[:, 0], images, targets, ["a"])
    with pytest.raises(InputError, match="radius"):
        sensitivity(lambda x, y, i: x[:, 0], images, targets, ["a", "b"], radius=0)

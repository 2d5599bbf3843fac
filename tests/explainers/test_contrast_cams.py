"""Finer-CAM and ShapleyCAM: special cases that can be said in words, cost, refusals."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.conftest import tiny_vit
from tests.explainers.zoo import batch, model
from vitfaith.errors import InputError
from vitfaith.explainers.explain import explain
from vitfaith.explainers.registry import EXPLAINERS
from vitfaith.explainers.token_finercam import FinerCamParameters, contrast
from vitfaith.models.classifier import Classifier
from vitfaith.models.passes import PassCounter


def maps(classifier: Classifier, name: str, targets: Tensor | None = None, **settings: Any) -> Tensor:
    images, given, ids = batch(classifier)
    methods = {"it": EXPLAINERS.item(name, **settings)}
    return explain(classifier, images, given if targets is None else targets, ids, methods, seed=0, batch_size=4)["it"]


def test_the_nearest_logits_are_subtracted() -> None:
    logits = torch.tensor([[2.0, 5.0, 1.5, 2.1, -9.0]])
    target = torch.tensor([0])
    one = contrast(logits, target, FinerCamParameters(references=1, strength=0.5))
    assert one.tolist() == pytest.approx([2 - 0.5 * 2.1])
    two = contrast(logits, target, FinerCamParameters(references=2))
    assert two.tolist() == pytest.approx([2 - (2.1 + 1.5) / 2])
    weighed = contrast(logits, target, FinerCamParameters(references=2, weighting="probability"))
    share = torch.tensor([2.1, 1.5]).softmax(0)
    assert weighed.tolist() == pytest.approx([2 - float(share[0]) * 2.1 - float(share[1]) * 1.5])
    everyone = contrast(logits, target, FinerCamParameters(references=99))
    assert everyone.tolist() == pytest.approx([2 - (5 + 1.5 + 2.1 - 9) / 4])


def test_among_equal_logits_the_class_is_not_its_own_reference() -> None:
    found = contrast(torch.ones(1, 3), torch.tensor([2]), FinerCamParameters(references=2, strength=3))
    assert found.tolist() == [-2]


def test_without_strength_it_is_token_gradcam() -> None:
    classifier = model("class_token")
    for weighting in ("equal", "probability"):
        found = maps(classifier, "token_finercam", strength=0, weighting=weighting, clamp=False)
        torch.testing.assert_close(found, maps(classifier, "token_gradcam", clamp=False), rtol=1e-4, atol=1e-6)


def test_two_classes_have_opposite_maps() -> None:
    classifier = tiny_vit(num_classes=2)
    _, targets, _ = batch(classifier)
    one = maps(classifier, "token_finercam", clamp=False)
    other = maps(classifier, "token_finercam", 1 - targets, clamp=False)
    torch.testing.assert_close(one, -other, rtol=1e-4, atol=1e-7)
    gradcams = [maps(classifier, "token_gradcam", t, clamp=False) for t in (targets, 1 - targets)]
    torch.testing.assert_close(one, gradcams[0] - gradcams[1], rtol=1e-4, atol=1e-6)


def test_one_class_is_refused() -> None:
    with pytest.raises(InputError, match="with a single class"):
        maps(tiny_vit(num_classes=1), "token_finercam")


@pytest.mark.parametrize("name", ["token_finercam", "token_shapleycam"])
def test_the_clamp_sets_negative_values_to_zero(name: str) -> None:
    signed = maps(model("class_token"), name, clamp=False)
    assert (signed < 0).any()
    assert torch.equal(maps(model("class_token"), name), signed.clamp_min(0))


@pytest.mark.parametrize(
    ("name", "settings", "backwards"),
    [
        ("token_finercam", {}, 1),
        ("token_finercam", {"weighting": "probability"}, 1),
        ("token_shapleycam", {}, 2),
        ("token_shapleycam", {"utility": "logit"}, 1),  # the second one does not reach the logits
    ],
)
def test_cost(name: str, settings: dict[str, Any], backwards: int) -> None:
    classifier = model("class_token")
    with PassCounter(classifier.backbone) as passes:
        maps(classifier, name, **settings)
    assert (passes.forwards, passes.backwards) == (4, 4 * backwards)

"""Successes at the boundary: an adversarial example that an attack found in floats stays one when it is stored."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
import torchattacks
from torch import Tensor

from tests.attacks.running import run
from vitfaith.attacks.craft.keyed import KeyedRandom
from vitfaith.attacks.prediction import torchattacks_object
from vitfaith.attacks.registry import ATTACKS, attack
from vitfaith.attacks.run import attack_images
from vitfaith.models.classifier import Classifier
from vitfaith.registry import Parameters


def test_attacks_stopping_at_the_boundary_survive_storing(vit: Classifier, pixels: Tensor, predicted: Tensor) -> None:
    """DeepFool ends just behind the boundary: rounding towards the clean image alone would undo it."""
    parameters = {"name": "DeepFool", "arguments": {"steps": 20}}
    attacked = torch.cat(
        [torchattacks.DeepFool(vit, steps=20)(x[None], y[None]) for x, y in zip(pixels, predicted, strict=True)]
    )
    clean = pixels * 255
    towards = (clean + ((attacked * 255 - clean).trunc())) / 255
    undone = int((vit(towards).argmax(1) == predicted).sum())
    assert undone > 0
    assert run(vit, pixels, predicted, "torchattacks", parameters).success.mean() >= 0.8


MINIMAL: list[tuple[str, dict[str, Any]]] = [
    ("DeepFool", {"steps": 20}),
    ("CW", {"steps": 30, "c": 10.0}),
    ("FAB", {"eps": 8 / 255, "steps": 5}),
    ("FAB", {"eps": 1.0, "norm": "L2", "steps": 5}),
    ("FAB", {"eps": 0.15, "norm": "L2", "steps": 5}),
]


@pytest.mark.parametrize(("name", "arguments"), MINIMAL, ids=lambda v: v if isinstance(v, str) else "")
@pytest.mark.parametrize("factor", [1, 0.05])
def test_float_successes_stay_successes_when_stored(
    vit: Classifier, pixels: Tensor, predicted: Tensor, name: str, arguments: dict[str, Any], factor: float
) -> None:
    """Also where an image next to the boundary (logits all but equal) needs less than one grey level anywhere."""
    model = copy.deepcopy(vit)
    bias = model.get_parameter("backbone.head.bias")
    logits = vit(pixels)
    with torch.no_grad():  # a bias that moves the boundary to within the given share of the first image's lead
        top = logits[0].topk(2)
        bias[top.indices[1]] += (1 - factor) * (top.values[0] - top.values[1])
    targets = model(pixels).argmax(1)
    attack_one = torchattacks_object(model, name, arguments)
    with KeyedRandom(7, ["image"]):
        floats = torch.cat([attack_one(x[None], y[None]) for x, y in zip(pixels, targets, strict=True)])
    fooled = (model(floats).argmax(1) != targets).numpy()
    result = run(model, pixels, targets, "torchattacks", {"name": name, "arguments": arguments})
    assert fooled.mean() >= 0.6
    assert result.success[fooled].mean() >= (1.0 if arguments.get("eps", 1) >= 8 / 255 else 0.8)


def test_an_image_on_the_boundary_is_retried(vit: Classifier, pixels: Tensor, predicted: Tensor) -> None:
    """Attacks that stop at equal logits may leave the clean class first by one bit."""
    x, y = pixels[:1], predicted[:1]
    step = torchattacks.PGD(vit, 8 / 255, 2 / 255, 5, random_start=False)(x, y) - x

    @attack("test_tie", citation="")
    def tie(classifier: Classifier, images: Tensor, targets: Tensor, parameters: Parameters) -> Tensor:
        return images + 0.12 * step  # below one level everywhere

    model = copy.deepcopy(vit)
    with torch.no_grad():  # a bias that leaves the clean class a lead of rounding
        first, second = model(x + 0.12 * step)[0].topk(2).indices.tolist()
        logits = model(x + 0.12 * step)[0]
        bias = model.get_parameter("backbone.head.bias")
        bias[second] += (logits[first] - logits[second]) * (1 - 1e-7) - 2e-7
        assert first == int(y) == int(model(x).argmax(1)) == int(model(x + 0.12 * step).argmax(1))
    try:
        assert run(model, x, y, "test_tie", {}).success.all()
    finally:
        del ATTACKS._entries["test_tie"]


def test_the_retry_does_not_depend_on_the_batch(vit: Classifier, pixels: Tensor, predicted: Tensor) -> None:
    """An image that truncation makes the clean one again is retried alone as it is beside others."""

    @attack("test_nudge", citation="")
    def nudge(classifier: Classifier, images: Tensor, targets: Tensor, parameters: Parameters) -> Tensor:
        moved = torchattacks.PGD(classifier, 8 / 255, 2 / 255, 5, random_start=False)(images, targets)
        return images + (moved - images) * 0.12  # below one level everywhere

    model = copy.deepcopy(vit)
    bias = model.get_parameter("backbone.head.bias")
    bias.data = -model(pixels).mean(0) + vit.get_parameter("backbone.head.bias").data
    targets = model(pixels).argmax(1)
    try:
        whole = run(model, pixels, targets, "test_nudge", {})
        alone = [
            attack_images(
                model, pixels[i : i + 1], targets[i : i + 1], [f"image-{i}"], ATTACKS.item("test_nudge"), seed=7
            )
            for i in range(len(pixels))
        ]
    finally:
        del ATTACKS._entries["test_nudge"]
    assert [bool(a.success[0]) for a in alone] == whole.success.tolist()
    assert whole.success.any()
    assert all(np.array_equal(a.images[0], b) for a, b in zip(alone, whole.images, strict=True))

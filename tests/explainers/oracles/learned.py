"""Learned explainers against slow loops."""

from __future__ import annotations

from functools import partial

from torch import Tensor

from tests.explainers import cases
from tests.explainers.cases import learned
from tests.explainers.oracles.base import Oracle, Pair, by_image, maps
from tests.explainers.textbook.diffmask import map_of_gates, map_of_one_image
from tests.explainers.textbook.shapley import map_of_head
from tests.explainers.zoo import model
from vitfaith.explainers.diffmask.files import load_diffmask
from vitfaith.explainers.shapley.files import load_shapley

CLASS_TOKEN = "class_token"


def gates(name: str, by_class: bool) -> Pair:
    classifier, path = model(CLASS_TOKEN), learned(by_class)
    network = load_diffmask(path, classifier)

    def slow(image: Tensor, target: int, _: str) -> Tensor:
        return map_of_gates(classifier, network, image, target if by_class else None)

    return maps(classifier, name, weights=path)[:2], by_image(classifier, slow)


def shapley() -> Pair:
    classifier, path = model(CLASS_TOKEN), cases.shapley()
    head, game = load_shapley(path, classifier)

    def slow(image: Tensor, target: int, _: str) -> Tensor:
        return map_of_head(classifier, head, game.surrogate, image, target)

    return maps(classifier, "vit_shapley", weights=path)[:2], by_image(classifier, slow)


def one_image(name: str, by_class: bool) -> Pair:
    classifier = model(CLASS_TOKEN)

    def slow(image: Tensor, target: int, image_id: str) -> Tensor:
        return map_of_one_image(classifier, image, target if by_class else None, image_id, steps=5)

    return maps(classifier, name, steps=5)[:2], by_image(classifier, slow)


ORACLES = [
    Oracle("vit_shapley", "textbook loop", "attention and layers of the head patch by patch, shifted to v(all) − v(none) of the surrogate", 1e-5, shapley),
    *[
        Oracle(name, "textbook loop", "gate by gate and patch by patch; E[z] from quantiles of the noise", 2e-5, partial(gates, name, by_class))
        for name, by_class in (("diffmask", False), ("diffmask_class", True))
    ],
    *[
        Oracle(name, "textbook loop", "Adam and multiplier written out for one image, 5 steps", 1e-5, partial(one_image, name, by_class))
        for name, by_class in (("diffmask_per_image", False), ("diffmask_per_image_class", True))
    ],
]  # fmt: skip

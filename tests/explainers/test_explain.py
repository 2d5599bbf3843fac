"""The way in: families, flags, and arguments that do not fit."""

from __future__ import annotations

import pytest
import torch

from tests.explainers.cases import methods_of
from tests.explainers.zoo import batch, model
from vitfaith.errors import InputError
from vitfaith.explainers.explain import explain, families
from vitfaith.explainers.registry import EXPLAINERS
from vitfaith.map_values import map_flags


def test_families_keep_order() -> None:
    methods = methods_of(*(EXPLAINERS[name] for name in ("rise", "random", "occlusion", "attcat")))
    assert families(methods) == {"perturbation": ["rise", "occlusion"], "one_pass": ["random", "attcat"]}


def test_flags() -> None:
    good = torch.rand(4, 4)
    broken, infinite, constant, nearly = good.clone(), good.clone(), torch.full((4, 4), 0.3), torch.full((4, 4), 0.3)
    broken[0, 1], infinite[2, 2] = float("nan"), float("-inf")
    nearly[1, 1] += 3e-8
    maps = torch.stack([good, broken, infinite, constant, nearly, torch.zeros(4, 4), good * 1e-30])
    assert map_flags(maps) == ["", "nan", "nan", "constant", "constant", "constant", ""]


def test_explain_names_what_does_not_fit() -> None:
    classifier = model("class_token")
    images, targets, ids = batch(classifier)
    methods = methods_of(EXPLAINERS["random"])
    with pytest.raises(InputError, match="4 images, 3 targets and 4 image_ids"):
        explain(classifier, images, targets[:3], ids, methods, seed=0, batch_size=4)
    with pytest.raises(InputError, match=r"not in \[0, 1\]"):
        explain(classifier, images * 2, targets, ids, methods, seed=0, batch_size=4)
    with pytest.raises(InputError, match="batch_size is 0"):
        explain(classifier, images, targets, ids, methods, seed=0, batch_size=0)


def test_no_images_give_no_maps() -> None:
    classifier = model("oblong")
    found = explain(classifier, torch.zeros(0, 3, 16, 24), torch.zeros(0, dtype=torch.int64), [],
                    methods_of(EXPLAINERS["random"]), seed=0, batch_size=4)  # fmt: skip
    assert found["random"].shape == (0, 4, 6)

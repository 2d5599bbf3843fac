"""SaCo of a random map is 0 on average, exactly, where every order of its values and every place of the larger groups counts."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch

from tests.conftest import tiny_vit
from vitfaith.metrics.engine.requests import group_edges
from vitfaith.metrics.evaluate import evaluate
from vitfaith.metrics.registry import METRICS
from vitfaith.models.classifier import Classifier

VALUES = torch.tensor([0.1, 0.2, 0.9, 1.4, 3.0])
"""Of one row of five features; skewed, so that the pairs weigh differently."""

IMAGES = torch.rand(3, 3, 4, 20, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def vit() -> Classifier:
    """A model of 1×5 patches."""
    return tiny_vit(img_size=(4, 20))


ORDERS = torch.stack([VALUES[list(order)] for order in itertools.permutations(range(5))])


def one_of_each_arrangement(groups: int) -> list[str]:
    """Names of images that get different groups of five features, one for every arrangement of their sizes."""
    found: dict[tuple[int, ...], str] = {}
    for number in range(1000):
        found.setdefault(tuple(np.diff(group_edges(5, groups, 0, f"copy-{number}"))), f"copy-{number}")
    return list(found.values())


def everything(vit: Classifier, image: torch.Tensor, groups: int, metric: str, **settings: object) -> np.ndarray:
    """Scores (arrangements, 120) of an image under all maps that have the five values."""
    ids = one_of_each_arrangement(groups)
    maps = {f"order-{i}": row.reshape(1, 1, 5).repeat(len(ids), 1, 1) for i, row in enumerate(ORDERS)}
    chosen = {metric: METRICS.item(metric, groups=(groups,), fill="black", **settings)}
    targets = torch.full((len(ids),), 2)
    frame = evaluate(vit, image.repeat(len(ids), 1, 1, 1), targets, ids, maps, chosen).scores.to_pandas()
    return frame.pivot(index="image_id", columns="method", values="value").loc[ids].to_numpy()


@pytest.mark.parametrize(("groups", "metric"), [(2, "saco"), (2, "saco_rank"), (3, "saco_rank"), (4, "saco_rank")])
def test_mean_over_all_orders_and_arrangements_is_exactly_zero(vit: Classifier, groups: Any, metric: Any) -> None:
    """All pairs weigh the same here, whatever the sizes of the groups, so that every pair cancels with its mirror."""
    largest = 0.0
    for image in IMAGES:
        scores = everything(vit, image[None], groups, metric)
        assert scores.shape == (math.comb(groups, 5 % groups), 120)
        assert scores.mean() == pytest.approx(0, abs=1e-12)
        largest = max(largest, abs(scores.mean(1)).max())
    assert largest > 0.05, "one arrangement for all images would not do"


@pytest.mark.parametrize("groups", [3, 4])
def test_what_weighing_leaves_is_small(vit: Classifier, groups: Any) -> None:
    """Where the weights of pairs follow the sizes, mirrored pairs cancel but for the change of their weights."""
    means = np.array([everything(vit, image[None], groups, "saco").mean(1) for image in IMAGES[:2]])
    assert (abs(means.mean(1)) < abs(means).max(1) / 20).all()
    assert abs(means).max() > 0.15

"""What the engine evaluates, how often, in which batches, and what it does when memory runs out."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch

from tests.conftest import tiny_vit
from tests.metrics.engine_tools import NAMES, Recorder, close, default, table
from vitfaith.metrics.common import CurveMetric, CurveParameters
from vitfaith.metrics.engine.cost import forward_cost
from vitfaith.metrics.evaluate import evaluate
from vitfaith.metrics.registry import METRICS
from vitfaith.models.classifier import Classifier
from vitfaith.models.memory import is_out_of_memory

STEPS = 8  # divides the 16 patches, so that grids of different metrics coincide
IMAGES, METHODS = 5, 3
CURVE_METRICS = [
    name
    for name in NAMES
    if METRICS[name].parameters is CurveParameters and issubclass(METRICS[name].implementation, CurveMetric)
]


def forwards(
    vit: Classifier,
    images: torch.Tensor,
    targets: torch.Tensor,
    image_ids: list[str],
    maps: dict[str, torch.Tensor],
    metrics: Any,
) -> int:
    recorder = Recorder(inner=vit)
    result = evaluate(recorder, images, targets, image_ids, maps, metrics, labels=targets, batch_size=64)
    assert result.forwards == sum(recorder.sizes)
    return result.forwards


def test_saco_costs_k_forwards_a_map_and_one_an_image(
    vit: Classifier, images: torch.Tensor, targets: torch.Tensor, image_ids: list[str], maps: dict[str, torch.Tensor]
) -> None:
    metrics = {"saco": METRICS.item("saco", groups=(10,))}
    assert forwards(vit, images, targets, image_ids, maps, metrics) == IMAGES * (METHODS * 10 + 1)


def test_all_curve_metrics_together_cost_two_curves_with_shared_ends(
    vit: Classifier, images: torch.Tensor, targets: torch.Tensor, image_ids: list[str], maps: dict[str, torch.Tensor]
) -> None:
    metrics = {name: METRICS.item(name, steps=STEPS) for name in CURVE_METRICS}
    assert len(metrics) >= 10
    one = {"a": maps["a"]}
    assert forwards(vit, images, targets, image_ids, one, metrics) == IMAGES * (2 * STEPS - 1 + 1)  # + the clean pass
    assert forwards(vit, images, targets, image_ids, maps, metrics) == IMAGES * (METHODS * 2 * (STEPS - 1) + 2)


def test_saco_shares_its_first_and_last_group_with_the_curves(
    vit: Classifier, images: torch.Tensor, targets: torch.Tensor, image_ids: list[str], maps: dict[str, torch.Tensor]
) -> None:
    metrics = {"saco": METRICS.item("saco", groups=(8,)), "abpc": METRICS.item("abpc", steps=8)}
    assert forwards(vit, images, targets, image_ids, maps, metrics) == IMAGES * (METHODS * (14 + 8 - 2) + 2)


def test_groups_of_unequal_size_cost_at_most_three_percent_more(targets: torch.Tensor) -> None:
    """Larger groups in random places share fewer images with the curves than ⌊iP/K⌋ would: 1 map of 49 patches, K = 10."""
    count, patches = 60, 49
    maps = {"a": torch.rand(count, 7, 7, generator=torch.Generator().manual_seed(0))}
    metrics = {"saco": default("saco"), "abpc": default("abpc")}
    ids = [f"image-{i}" for i in range(count)]
    classifier, image = tiny_vit(img_size=28), torch.rand(1, 3, 28, 28, generator=torch.Generator().manual_seed(1))
    found = forwards(classifier, image.repeat(count, 1, 1, 1), targets[:1].repeat(count), ids, maps, metrics)
    edges = [i * patches // 10 for i in range(11)]
    floors = {(0, e) for e in edges} | {(patches - e, patches) for e in edges} | set(itertools.pairwise(edges))
    distinct = {interval for interval in floors if interval[0] < interval[1]}
    assert found <= 1.03 * count * (len(distinct) + 1)
    chosen = [item.implementation(item.parameters) for item in metrics.values()]
    cost = forward_cost(chosen, (7, 7), (28, 28))
    assert abs(cost.per_image + cost.per_map - found / count) <= 2, "what is planned is counted for one draw"


@pytest.mark.parametrize(
    ("name", "per_map", "per_image"),
    [
        ("saco", 10, 1),
        ("saco_rank", 10, 1),
        ("deletion_auc", 9, 2),
        ("insertion_auc", 9, 2),
        ("abpc", 18, 2),
        ("accuracy_auc", 9, 2),
        ("comprehensiveness", 4, 1),  # 1 % and 5 % are both one of 16 patches
        ("sufficiency", 4, 1),
        ("chefer_positive", 9, 1),
        ("chefer_negative", 9, 1),
        ("diffmask_positive_nll", 27, 2),
        ("pixel_flipping", 15, 2),
        ("region_perturbation", 3, 2),  # 2 × 2 regions of at most 9 pixels
        ("road_morf", 7, 1),
        ("road_combined", 14, 1),
    ],
)
def test_cost_of_each_metric(
    vit: Classifier,
    images: torch.Tensor,
    targets: torch.Tensor,
    image_ids: list[str],
    maps: dict[str, torch.Tensor],
    name: str,
    per_map: int,
    per_image: int,
) -> None:
    metrics = {name: default(name)}
    expected = IMAGES * (METHODS * per_map + per_image)
    assert forwards(vit, images, targets, image_ids, maps, metrics) == expected


def test_equal_requests_under_different_ids_cost_nothing(
    vit: Classifier, images: torch.Tensor, targets: torch.Tensor, image_ids: list[str], maps: dict[str, torch.Tensor]
) -> None:
    once = {"x": default("deletion_auc")}
    twice = once | {"y": default("deletion_auc"), "z": default("log_odds")}
    assert forwards(vit, images, targets, image_ids, maps, twice) == forwards(
        vit, images, targets, image_ids, maps, once
    )


def test_unusable_maps_cost_nothing(
    vit: Classifier, images: torch.Tensor, targets: torch.Tensor, image_ids: list[str], maps: dict[str, torch.Tensor]
) -> None:
    metrics = {"saco": default("saco")}
    more = maps | {"flat": torch.zeros(5, 4, 4), "bad": torch.full((5, 4, 4), torch.nan)}
    assert forwards(vit, images, targets, image_ids, more, metrics) == forwards(
        vit, images, targets, image_ids, maps, metrics
    )


def test_only_the_last_batch_is_not_full(
    images: torch.Tensor, targets: torch.Tensor, image_ids: list[str], maps: dict[str, torch.Tensor]
) -> None:
    recorder = Recorder()
    metrics = {name: default(name) for name in ("saco", "abpc", "chefer_positive", "road_morf", "irof")}
    evaluate(recorder, images, targets, image_ids, maps, metrics, labels=targets, batch_size=32)
    assert len(recorder.sizes) > 5
    assert set(recorder.sizes[:-1]) == {32}


# ---- out of memory --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("message", ["CUDA out of memory. Tried", "DefaultCPUAllocator: can't allocate memory: you"])
def test_running_out_of_memory_halves_the_batch_and_changes_nothing(
    images: torch.Tensor, targets: torch.Tensor, image_ids: list[str], maps: dict[str, torch.Tensor], message: str
) -> None:
    metrics = {name: default(name) for name in ("saco", "insertion_auc", "irof")}
    whole = evaluate(Recorder(), images, targets, image_ids, maps, metrics, batch_size=64)
    scarce = Recorder(limit=20)
    scarce.message = message
    result = evaluate(scarce, images, targets, image_ids, maps, metrics, batch_size=64)
    assert result.batch_size == 16
    assert result.forwards == whole.forwards
    assert set(scarce.sizes[:-1]) == {16}
    close(table(result), table(whole))


def test_one_image_too_many_is_raised_and_other_errors_are_not_swallowed(
    images: torch.Tensor, targets: torch.Tensor, image_ids: list[str], maps: dict[str, torch.Tensor]
) -> None:
    with pytest.raises(RuntimeError, match="out of memory"):
        evaluate(Recorder(limit=0), images, targets, image_ids, maps, {"saco": default("saco")})
    broken = Recorder(limit=0)
    broken.message = "shapes cannot be multiplied"
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        evaluate(broken, images, targets, image_ids, maps, {"saco": default("saco")})
    assert is_out_of_memory(torch.OutOfMemoryError("anything"))

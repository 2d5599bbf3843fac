"""SaCo: numbers by hand, the loop over pairs, and its invariances."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.metrics import textbook
from vitfaith.errors import InputError
from vitfaith.metrics.context import ScoreContext
from vitfaith.metrics.engine.ranking import ranking_of
from vitfaith.metrics.engine.requests import Features, Groups, group_edges
from vitfaith.metrics.engine.salience import group_salience, map_salience
from vitfaith.metrics.evaluate import evaluate
from vitfaith.metrics.fills.registry import FILLS
from vitfaith.metrics.registry import METRICS
from vitfaith.metrics.saco import SacoParameters, saco, saco_pairs, saco_rank
from vitfaith.models.classifier import Classifier


def test_two_groups_by_hand() -> None:
    salience = torch.tensor([3.0, 1.0])
    assert float(saco(salience, torch.tensor([0.4, 0.1]))) == 1
    assert float(saco(salience, torch.tensor([0.1, 0.4]))) == -1
    assert float(saco(salience, torch.tensor([0.2, 0.2]))) == 1, "a tie in the drop counts as satisfied"
    assert math.isnan(saco(torch.tensor([1.0, 1.0]), torch.tensor([0.2, 0.1])))


def test_three_groups_by_hand() -> None:
    salience, drops = torch.tensor([5.0, 3.0, 2.0]), torch.tensor([0.1, 0.3, 0.2])
    assert saco_pairs(salience, drops).tolist() == [[0, -2, -3], [0, 0, 1], [0, 0, 0]]
    assert float(saco(salience, drops)) == pytest.approx(-4 / 6)
    assert float(saco_rank(salience, drops)) == pytest.approx(-1 / 3)


floats = st.floats(-100, 100, allow_nan=False).map(lambda x: round(x, 3))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(floats, st.sampled_from([-0.1, 0.0, 0.1, 0.2, 0.5])), min_size=2, max_size=12))
def test_equals_the_loop_over_pairs_and_the_closed_form(groups: Any) -> None:
    salience = sorted((s for s, _ in groups), reverse=True)
    drops = [d for _, d in groups]
    if salience[0] == salience[-1]:
        assert math.isnan(saco(torch.tensor(salience), torch.tensor(drops)))
        return
    pair = torch.tensor(salience, dtype=torch.float64), torch.tensor(drops, dtype=torch.float64)
    value = float(saco(*pair))
    assert value == pytest.approx(textbook.saco(salience, drops), abs=1e-12)
    assert float(saco_rank(*pair)) == pytest.approx(textbook.saco(salience, drops, weighted=False), abs=1e-12)
    k = len(groups)
    violated = sum(salience[i] - salience[j] for i in range(k) for j in range(i + 1, k) if drops[i] < drops[j])
    assert value == pytest.approx(1 - 2 * violated / sum((k - 1 - 2 * i) * s for i, s in enumerate(salience)), abs=1e-9)
    assert -1 - 1e-12 <= value <= 1 + 1e-12


@pytest.mark.parametrize(("total", "groups"), [(196, 10), (50176, 10), (16, 5), (49, 20), (7, 7)])
def test_group_sizes_differ_by_at_most_one(total: int, groups: Any) -> None:
    sizes = np.diff(group_edges(total, groups, 3, "a"))
    assert sizes.sum() == total
    assert sizes.max() - sizes.min() <= 1
    assert sizes.min() >= 1
    assert sizes.tolist() == [len(group) for group in textbook.groups_of(list(range(total)), groups, "a", 3)]


@pytest.mark.parametrize(("total", "groups"), [(200, 10), (16, 8), (7, 7)])
def test_equal_groups_are_the_same_for_all_images(total: int, groups: Any) -> None:
    expected = [i * total // groups for i in range(groups + 1)]
    assert all(group_edges(total, groups, seed, name) == expected for seed in (0, 1) for name in "abc")


def test_which_groups_are_larger_is_uniform_over_images_and_keyed_by_seed_and_number() -> None:
    sizes = np.array([np.diff(group_edges(11, 4, 0, f"image-{i}")) for i in range(4000)])
    arrangements = Counter(map(tuple, sizes.tolist()))
    assert len(arrangements) == 4
    assert max(abs(count - 1000) for count in arrangements.values()) < 4 * np.sqrt(4000 * 3 / 16)
    other = np.array([np.diff(group_edges(11, 4, 1, f"image-{i}")) for i in range(4000)])
    nested = np.array([np.diff(group_edges(15, 4, 0, f"image-{i}")) for i in range(4000)])
    assert 0.2 < (sizes == other).all(1).mean() < 0.3
    assert ((sizes == 3).argmax(1) == 0).mean() < 0.8
    assert (nested == 4).sum(1).tolist() == [3] * 4000


def test_intervals_and_salience_share_one_table_of_edges(context: ScoreContext) -> None:
    for features, count in itertools.product(
        (Features("patch"), Features("region", 5), Features("superpixel", 60)), (3, 5)
    ):
        groups = Groups(count, features, FILLS.item("black"))
        ranking = ranking_of(context, features)
        low, high = groups.intervals(ranking.totals, context.image_ids, context.seed)
        salience = map_salience(context, groups)
        for image, method in itertools.product(range(5), range(3)):
            total = ranking.totals[image]
            values = ranking.scores(context.maps[image, method][None], torch.tensor([image]))[0, :total].double()
            ordered = values.sort(descending=True).values
            expected = [
                float(ordered[a:b].mean()) * total / count for a, b in zip(low[image], high[image], strict=True)
            ]
            assert salience[image, method].tolist() == pytest.approx(expected, rel=1e-6)
            assert (low[image, 0], high[image, -1]) == (0, total)


def test_group_salience_of_equal_groups_is_the_sum_and_moves_with_a_shift() -> None:
    scores = torch.tensor([1.0, 5.0, 2.0, 4.0, 0.0, 3.0])
    assert group_salience(scores, torch.tensor([0, 2, 4, 6])).tolist() == [9, 5, 1]
    uneven, edges = torch.arange(7.0), torch.tensor([0, 2, 4, 7])
    assert torch.allclose(group_salience(uneven + 3, edges) - group_salience(uneven, edges), torch.tensor(7.0).double())
    assert group_salience(uneven, edges, "sum").tolist() == [11, 7, 3]


def test_algorithm_1_to_the_letter_weighs_by_sums(
    vit: Classifier, images: torch.Tensor, targets: torch.Tensor, image_ids: list[str], maps: dict[str, torch.Tensor]
) -> None:
    """16 patches in 5 groups: the sum reorders groups, the mean does not; 16 in 4: they are one; no forward more."""
    mean, total = (METRICS.item("saco", groups=(4, 5), salience=salience) for salience in ("mean", "sum"))
    one = evaluate(vit, images, targets, image_ids, maps, {"mean": mean})
    both = evaluate(vit, images, targets, image_ids, maps, {"mean": mean, "sum": total})
    assert one.forwards == both.forwards
    frame = both.scores.to_pandas().set_index(["metric", "variant"]).value
    assert frame["mean", "k=4"].to_numpy() == pytest.approx(frame["sum", "k=4"].to_numpy(), abs=1e-12)
    assert (frame["mean", "k=5"].to_numpy() != frame["sum", "k=5"].to_numpy()).any()
    curves = both.curves.to_pandas()
    assert set(curves.variant) == {f"patch image_mean k={k}{form}" for k in (4, 5) for form in ("", " salience=sum")}
    part = curves[(curves.variant == "patch image_mean k=5 salience=sum") & (curves.method == "a")]
    for index, image_id in enumerate(image_ids):
        order = textbook.order_of(maps["a"][index].numpy(), image_id)
        expected = [float(maps["a"][index].flatten()[g].sum()) for g in textbook.groups_of(order, 5, image_id)]
        assert part[part.image_id == image_id].sort_values("step").salience.tolist() == pytest.approx(
            expected, rel=1e-5
        )


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 10_000),
    st.integers(2, 16),
    st.sampled_from([0.001, 0.5, 3.0, 1e4]),
    st.sampled_from([-100.0, -1.0, 0.0, 0.3, 50.0]),
)
def test_positive_affine_change_of_the_map_changes_nothing(seed: int, groups: Any, scale: float, shift: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(16, generator=generator, dtype=torch.float64)
    drops = torch.randn(groups, generator=generator, dtype=torch.float64)
    edges = torch.tensor(group_edges(16, groups, seed, "a"))
    before, after = (saco(group_salience(s, edges), drops) for s in (scores, scale * scores + shift))
    assert float(after) == pytest.approx(float(before), abs=1e-9)


def test_more_groups_than_patches_is_an_error_that_names_the_way_out(
    vit: Classifier, images: torch.Tensor, targets: torch.Tensor, image_ids: list[str]
) -> None:
    maps = {"a": torch.rand(5, 4, 4)}
    with pytest.raises(InputError, match=r"groups=20.*16 features.*at most 16"):
        evaluate(vit, images, targets, image_ids, maps, {"saco": METRICS.item("saco", groups=(20,))})
    pixel = evaluate(vit, images, targets, image_ids, maps, {"saco": METRICS.item("saco", groups=(20,), level="pixel")})
    assert np.isfinite(pixel.scores.column("value").to_numpy()).all()


@pytest.mark.parametrize("groups", [(), (1,), (5, 5)])
def test_groups_must_be_different_numbers_above_one(groups: Any) -> None:
    with pytest.raises(ValueError, match="groups"):
        SacoParameters(groups=groups)

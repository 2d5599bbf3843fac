"""SaCo: numbers by hand, the loop over pairs, and its invariances."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.score import textbook
from vitfaith.errors import InputError
from vitfaith.score.evaluate import evaluate
from vitfaith.score.metrics.saco import SacoParameters
from vitfaith.score.plan import group_edges
from vitfaith.score.saco import group_salience, saco, saco_pairs, saco_rank


def test_two_groups_by_hand():
    salience = torch.tensor([3.0, 1.0])
    assert float(saco(salience, torch.tensor([0.4, 0.1]))) == 1
    assert float(saco(salience, torch.tensor([0.1, 0.4]))) == -1
    assert float(saco(salience, torch.tensor([0.2, 0.2]))) == 1, "a tie in the drop counts as satisfied"
    assert math.isnan(saco(torch.tensor([1.0, 1.0]), torch.tensor([0.2, 0.1])))


def test_three_groups_by_hand():
    salience, drops = torch.tensor([5.0, 3.0, 2.0]), torch.tensor([0.1, 0.3, 0.2])
    assert saco_pairs(salience, drops).tolist() == [[0, -2, -3], [0, 0, 1], [0, 0, 0]]
    assert float(saco(salience, drops)) == pytest.approx(-4 / 6)
    assert float(saco_rank(salience, drops)) == pytest.approx(-1 / 3)


floats = st.floats(-100, 100, allow_nan=False).map(lambda x: round(x, 3))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(floats, st.sampled_from([-0.1, 0.0, 0.1, 0.2, 0.5])), min_size=2, max_size=12))
def test_equals_the_loop_over_pairs_and_the_closed_form(groups):
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
def test_group_sizes_differ_by_at_most_one(total, groups):
    sizes = np.diff(group_edges(total, groups))
    assert sizes.sum() == total
    assert sizes.max() - sizes.min() <= 1
    assert sizes.min() >= 1


def test_group_salience_of_equal_groups_is_the_sum_and_moves_with_a_shift():
    scores = torch.tensor([1.0, 5.0, 2.0, 4.0, 0.0, 3.0])
    assert group_salience(scores, 3).tolist() == [9, 5, 1]
    uneven = torch.arange(7.0)
    assert torch.allclose(group_salience(uneven + 3, 3) - group_salience(uneven, 3), torch.tensor(7.0).double())


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 10_000),
    st.integers(2, 16),
    st.sampled_from([0.001, 0.5, 3.0, 1e4]),
    st.sampled_from([-100.0, -1.0, 0.0, 0.3, 50.0]),
)
def test_positive_affine_change_of_the_map_changes_nothing(seed, groups, scale, shift):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(16, generator=generator, dtype=torch.float64)
    drops = torch.randn(groups, generator=generator, dtype=torch.float64)
    before, after = (saco(group_salience(s, groups), drops) for s in (scores, scale * scores + shift))
    assert float(after) == pytest.approx(float(before), abs=1e-9)


def test_more_groups_than_patches_is_an_error_that_names_the_way_out(vit, images, targets, image_ids):
    maps = {"a": torch.rand(5, 4, 4)}
    with pytest.raises(InputError, match=r"groups=20.*16 features.*at most 16"):
        evaluate(vit, images, targets, image_ids, maps, {"saco": ("saco", SacoParameters(groups=(20,)))})
    pixel = evaluate(
        vit, images, targets, image_ids, maps, {"saco": ("saco", SacoParameters(groups=(20,), level="pixel"))}
    )
    assert np.isfinite(pixel.scores.column("value").to_numpy()).all()


@pytest.mark.parametrize("groups", [(), (1,), (5, 5)])
def test_groups_must_be_different_numbers_above_one(groups):
    with pytest.raises(ValueError, match="groups"):
        SacoParameters(groups=groups)

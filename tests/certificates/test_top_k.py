from __future__ import annotations

from fractions import Fraction
from itertools import permutations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.certificates.textbook import overlap
from vitfaith.certificates.of_maps import certify_maps
from vitfaith.certificates.radii.lipschitz import grouped_radius
from vitfaith.certificates.radii.top_k import (
    check_top_k,
    exact_swap,
    ranking,
    swap_values,
    swaps_to_break,
    worst_swap_values,
)
from vitfaith.certificates.settings import CertificateParameters
from vitfaith.errors import InputError


def test_floating_point_trap() -> None:
    assert int((1 - 0.8) * 20) + 1 == 4  # what the naive formula gives
    assert swaps_to_break(20, 0.8) == 5


@given(st.integers(1, 60), st.integers(1, 100))
@settings(max_examples=100, deadline=None)
def test_is_the_first_number_of_swaps_that_breaks_the_overlap(k: int, percent: int) -> None:
    expected = next(s for s in range(k + 1) if Fraction(k - s, k) < Fraction(percent, 100))
    assert swaps_to_break(k, percent / 100) == expected
    assert swaps_to_break(k, Fraction(percent, 100)) == swaps_to_break(k, f"{percent}/100") == expected


@pytest.mark.parametrize(
    ("k", "beta", "word"), [(0, 0.5, "k"), (5, 0, "beta"), (5, 1.1, "beta"), (5, float("nan"), "beta")]
)
def test_bad_arguments(k: int, beta: float, word: str) -> None:
    with pytest.raises(InputError, match=word):
        swaps_to_break(k, beta)


@pytest.mark.parametrize(("k", "k0", "n"), [(3, 4, 16), (3, 0, 16), (5, 3, 7)])
def test_impossible_swaps(k: int, k0: int, n: int) -> None:
    with pytest.raises(InputError, match="k0"):
        check_top_k(k, k0, n)


def test_swap_of_a_map_by_hand() -> None:
    swap = exact_swap([[0.1, 0.4, 0.05, 0.25, 0.15, 0.05]], k=3, k0=2)
    np.testing.assert_array_equal(swap.inside, [[0.25, 0.15]])
    np.testing.assert_array_equal(swap.outside, [[0.1, 0.05]])


def test_bounds_reorder_within_but_not_across_the_set() -> None:
    lower, upper = [0.3, 0.1, 0.2, 0.0, 0.0], [1.0, 1.0, 1.0, 0.15, 0.4]
    swap = swap_values(lower, upper, [0, 1, 2, 3, 4], k=3, k0=2)
    np.testing.assert_array_equal(swap.inside, [0.2, 0.1])
    np.testing.assert_array_equal(swap.outside, [0.4, 0.15])


def test_one_nan_marks_its_map_only() -> None:
    swap = exact_swap([[0.5, np.nan, 0.2, 0.1], [0.4, 0.3, 0.2, 0.1]], k=1, k0=1)
    assert np.isnan(swap.inside[0]).all()
    assert np.isnan(swap.outside[0]).all()
    np.testing.assert_array_equal(swap.inside[1], [0.4])


def test_overlap_and_ties() -> None:
    np.testing.assert_array_equal(ranking([1.0, 2.0, 2.0, 0.0]), [1, 2, 0, 3])
    a, b = np.array([4.0, 3, 2, 1, 0]), np.array([4.0, 0, 2, 1, 3])
    assert [overlap(a, b, k) for k in (1, 2, 3, 5)] == [1.0, 0.5, 2 / 3, 1.0]


def orders_of(values: np.ndarray) -> list[list[int]]:
    """All orders that sort a map, however its ties are broken."""
    return [list(p) for p in permutations(range(len(values))) if (np.diff(values[list(p)]) <= 0).all()]


@given(st.lists(st.integers(0, 2), min_size=5, max_size=5), st.lists(st.integers(0, 2), min_size=5, max_size=5))
@settings(max_examples=40, deadline=None)
def test_overlap_is_the_smallest_over_all_orders_of_ties(first: Any, second: Any) -> None:
    a, b = np.array(first, float), np.array(second, float)
    for k in range(1, 6):
        sets = [{frozenset(order[:k]) for order in orders_of(values)} for values in (a, b)]
        assert overlap(a, b, k) == min(len(s & t) for s in sets[0] for t in sets[1]) / k


@given(st.lists(st.integers(0, 2), min_size=6, max_size=6), st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_the_worst_swap_certifies_no_more_than_the_set_of_any_order_of_ties(chosen_by: str, seed: int) -> None:
    draw, ranked = np.random.default_rng(seed), np.array(chosen_by, float)
    k = int(draw.integers(1, 4))
    k0 = int(draw.integers(1, min(k, 6 - k) + 1))
    centre = ranked / 4 + 0.3 * draw.random(6)
    low, high = centre - 0.1 * draw.random(6) * centre, centre + 0.1 * draw.random(6)
    worst = worst_swap_values(low, high, ranked, k, k0)
    swaps = [swap_values(low, high, order, k, k0) for order in orders_of(ranked)]
    for swap in swaps:
        assert (worst.inside <= swap.inside).all()
        assert (worst.outside >= swap.outside).all()
        assert grouped_radius(worst, 0.5, float(k)) <= grouped_radius(swap, 0.5, float(k))
    for side in range(2):
        assert any((worst[side] == swap[side]).all() for swap in swaps)
    untied = draw.permutation(6).astype(float)
    alone = swap_values(low, high, ranking(untied), k, k0)
    for one, two in zip(worst_swap_values(low, high, untied, k, k0), alone, strict=True):
        np.testing.assert_array_equal(one, two)


def test_a_tie_of_the_chosen_set_certifies_what_holds_for_each_of_its_sets() -> None:
    """Votes of ten samples tie across the second place; other samples say which of the tied entries is higher."""
    few = np.zeros((10, 4))
    few[:, 0], few[:5, 1], few[5:, 2] = 3, 1, 1
    many = np.zeros((2000, 4))
    many[:, 0], many[:1900, 1], many[1900:, 3] = 3, 1, 1
    settings_ = CertificateParameters(k=2, beta=1.0, sigma=0.5, base="vote")
    order = [[0, 1, 2, 3], [0, 2, 1, 3]]
    moved = [m[:, one] for one in order for m in (few, many)]
    radii = [
        float(certify_maps(pair[0][None], pair[1][None], "lipschitz", settings_, image_ids=["a"], method="m", dimensions=4)
              .column("radius")[0].as_py())
        for pair in (moved[:2], moved[2:])
    ]  # fmt: skip
    assert radii == [0.0, 0.0]  # by position .74 for the first, the certificate of {0, 1}; {0, 2} has none
    few[5:, 2], few[5:8, 1] = 0, 1
    untied = certify_maps(few[None], many[None], "lipschitz", settings_, image_ids=["a"], method="m", dimensions=4)
    assert untied.column("radius")[0].as_py() > 0.5

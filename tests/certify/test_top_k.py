from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vitfaith.certify.top_k import check_top_k, exact_swap, overlap, ranking, swap_values, swaps_to_break
from vitfaith.errors import InputError


def test_floating_point_trap():
    assert int((1 - 0.8) * 20) + 1 == 4  # what the naive formula gives
    assert swaps_to_break(20, 0.8) == 5


@given(st.integers(1, 60), st.integers(1, 100))
@settings(max_examples=100, deadline=None)
def test_is_the_first_number_of_swaps_that_breaks_the_overlap(k, percent):
    expected = next(s for s in range(k + 1) if Fraction(k - s, k) < Fraction(percent, 100))
    assert swaps_to_break(k, percent / 100) == expected
    assert swaps_to_break(k, Fraction(percent, 100)) == swaps_to_break(k, f"{percent}/100") == expected


@pytest.mark.parametrize(
    ("k", "beta", "word"), [(0, 0.5, "k"), (5, 0, "beta"), (5, 1.1, "beta"), (5, float("nan"), "beta")]
)
def test_bad_arguments(k, beta, word):
    with pytest.raises(InputError, match=word):
        swaps_to_break(k, beta)


@pytest.mark.parametrize(("k", "k0", "n"), [(3, 4, 16), (3, 0, 16), (5, 3, 7)])
def test_impossible_swaps(k, k0, n):
    with pytest.raises(InputError, match="k0"):
        check_top_k(k, k0, n)


def test_swap_of_a_map_by_hand():
    swap = exact_swap([[0.1, 0.4, 0.05, 0.25, 0.15, 0.05]], k=3, k0=2)
    np.testing.assert_array_equal(swap.inside, [[0.25, 0.15]])
    np.testing.assert_array_equal(swap.outside, [[0.1, 0.05]])


def test_bounds_reorder_within_but_not_across_the_set():
    lower, upper = [0.3, 0.1, 0.2, 0.0, 0.0], [1.0, 1.0, 1.0, 0.15, 0.4]
    swap = swap_values(lower, upper, [0, 1, 2, 3, 4], k=3, k0=2)
    np.testing.assert_array_equal(swap.inside, [0.2, 0.1])
    np.testing.assert_array_equal(swap.outside, [0.4, 0.15])


def test_one_nan_marks_its_map_only():
    swap = exact_swap([[0.5, np.nan, 0.2, 0.1], [0.4, 0.3, 0.2, 0.1]], k=1, k0=1)
    assert np.isnan(swap.inside[0]).all()
    assert np.isnan(swap.outside[0]).all()
    np.testing.assert_array_equal(swap.inside[1], [0.4])


def test_overlap_and_ties():
    np.testing.assert_array_equal(ranking([1.0, 2.0, 2.0, 0.0]), [1, 2, 0, 3])
    a, b = np.array([4.0, 3, 2, 1, 0]), np.array([4.0, 0, 2, 1, 3])
    assert [overlap(a, b, k) for k in (1, 2, 3, 5)] == [1.0, 0.5, 2 / 3, 1.0]

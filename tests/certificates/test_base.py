from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vitfaith.certificates.radii.base import base_map, mass
from vitfaith.errors import InputError


def test_by_hand() -> None:
    raw = np.array([[3.0, -1.0, 1.0, 0.0]])
    np.testing.assert_array_equal(base_map(raw, "share", 2), [[0.75, 0, 0.25, 0]])
    np.testing.assert_array_equal(base_map(raw, "unit", 2), [[1, 0, 0.5, 0.25]])
    np.testing.assert_array_equal(base_map(raw, "vote", 2), [[1, 0, 1, 0]])


def test_degenerate_maps() -> None:
    flat = np.full(4, 2.0)
    np.testing.assert_array_equal(base_map(-flat, "share", 1), [0.25] * 4)
    np.testing.assert_array_equal(base_map(flat, "unit", 1), [0] * 4)
    np.testing.assert_array_equal(base_map(flat, "vote", 1), [0.25] * 4)
    np.testing.assert_array_equal(base_map([3.0, 1.0, 1.0, 1.0, 0.0], "vote", 3), [1, 2 / 3, 2 / 3, 2 / 3, 0])
    np.testing.assert_allclose(base_map([1e308, 1e308, 0.0], "share", 1), [0.5, 0.5, 0])


@given(st.integers(0, 10**6), st.sampled_from(["share", "unit", "vote"]), st.sampled_from([1e-30, 1.0, 1e30]))
@settings(max_examples=60, deadline=None)
def test_range_sum_and_order(seed: int, base: Any, scale: float) -> None:
    raw = scale * np.random.default_rng(seed).normal(size=(3, 9)).round(1)
    made = base_map(raw, base, 4)
    assert made.min() >= 0
    assert made.max() <= 1
    if np.isfinite(mass(base, 4)):
        np.testing.assert_allclose(made.sum(axis=-1), mass(base, 4))
    for before, after in zip(raw, made, strict=True):
        order = np.argsort(before, kind="stable")
        assert (np.diff(after[order]) >= -1e-15).all()  # never turns the ranking round
        np.testing.assert_array_equal(base_map(before, base, 4), after)


def test_maps_with_nan_or_infinity_become_nan_alone() -> None:
    made = base_map([[1.0, np.nan, 2.0], [1.0, np.inf, 2.0], [1.0, 0.0, 3.0]], "share", 1)
    assert np.isnan(made[:2]).all()
    np.testing.assert_array_equal(made[2], [0.25, 0, 0.75])


def test_bad_arguments() -> None:
    with pytest.raises(InputError, match="unknown base"):
        base_map([1.0, 2.0], "soft", 1)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="k must"):
        base_map([1.0, 2.0], "vote", 3)

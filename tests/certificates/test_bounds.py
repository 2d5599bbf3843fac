from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from statsmodels.stats.proportion import proportion_confint

from vitfaith.certificates.radii.bounds import (
    chernoff,
    clopper_pearson,
    empirical_bernstein,
    hoeffding,
    round_to_counts,
    simultaneous_bounds,
)
from vitfaith.errors import InputError

KINDS = ["clopper_pearson", "chernoff", "empirical_bernstein", "hoeffding"]


@pytest.mark.parametrize(("count", "trials"), [(0, 10), (10, 10), (1, 10), (990, 1000), (37, 100000)])
@pytest.mark.parametrize("failure", [0.05, 1e-6])
def test_clopper_pearson_equals_scipy_and_statsmodels(count: int, trials: int, failure: float) -> None:
    ours = clopper_pearson(count, trials, failure)
    theirs = binomtest(count, trials).proportion_ci(1 - 2 * failure, "exact")
    low, high = proportion_confint(count, trials, alpha=2 * failure, method="beta")
    # 1 - 2 * failure loses digits of a tiny failure, hence not 1e-15
    np.testing.assert_allclose([ours.lower, ours.upper], [theirs.low, theirs.high], rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose([ours.lower, ours.upper], np.nan_to_num([low, high], nan=float(count > 0)), rtol=1e-8)


@pytest.mark.parametrize(("count", "trials"), [(-1, 5), (6, 5), (0, 0)])
def test_impossible_counts(count: int, trials: int) -> None:
    with pytest.raises(InputError, match="counts"):
        clopper_pearson(count, trials, 0.01)


def test_formulas_by_hand() -> None:
    assert hoeffding([0.5], 100, np.exp(-2)).lower[0] == pytest.approx(0.5 - 0.1)
    log_term = 3.0
    width = np.sqrt(2 * 0.04 * log_term / 1001) + 7 * log_term / 3000
    found = empirical_bernstein([0.5], [0.04], 1001, 2 * np.exp(-log_term))
    np.testing.assert_allclose([found.lower[0], found.upper[0]], [0.5 - width, 0.5 + width])


@given(st.floats(0, 1), st.integers(1, 10000), st.floats(1e-6, 0.5))
@settings(max_examples=60, deadline=None)
def test_chernoff_solves_its_equation_and_is_inside_hoeffding(mean: Any, samples: Any, failure: float) -> None:
    found, wide = chernoff([mean], samples, failure), hoeffding([mean], samples, failure)
    assert wide.lower[0] - 1e-12 <= found.lower[0] <= mean <= found.upper[0] <= wide.upper[0] + 1e-12
    for p in (found.lower[0], found.upper[0]):
        if 1e-9 < p < 1 - 1e-9 and p != mean:
            first = mean * np.log(mean / p) if mean > 0 else 0.0
            second = (1 - mean) * np.log((1 - mean) / (1 - p)) if mean < 1 else 0.0
            assert samples * (first + second) == pytest.approx(-np.log(failure), rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("law", ["dirichlet", "binary", "unit"])
def test_coverage(kind: str, law: Any) -> None:
    rng = np.random.default_rng(11)
    n, m, alpha, repeats = 8, 60, 0.2, 400
    shape = np.linspace(0.2, 3, n)
    misses = 0
    for repeat in range(repeats):
        if law == "dirichlet":
            samples, truth = rng.dirichlet(shape, m), shape / shape.sum()
        elif law == "binary":
            truth = np.linspace(0.02, 0.97, n)
            samples = (rng.random((m, n)) < truth).astype(float)
        else:
            samples, truth = rng.beta(shape, 1.0, (m, n)), shape / (shape + 1)
        found = simultaneous_bounds(samples, alpha, kind, seed=repeat)
        inside = np.arange(n) % 2 == 0  # any fixed set: one side each
        misses += bool((found.lower[inside] > truth[inside]).any() or (found.upper[~inside] < truth[~inside]).any())
    assert misses / repeats <= alpha + 3 * np.sqrt(alpha * (1 - alpha) / repeats)
    if kind == "clopper_pearson":
        assert misses > 0  # tight enough that the simulation could have caught an error in it


@pytest.mark.parametrize("kind", KINDS)
def test_bounds_close_in_on_the_mean(kind: str) -> None:
    samples = np.random.default_rng(2).beta(2, 5, (20000, 3))
    found = simultaneous_bounds(samples, 0.001, kind, seed=0)
    assert (found.lower < samples.mean(axis=0)).all()
    assert (samples.mean(axis=0) < found.upper).all()
    assert (found.upper - found.lower).max() < 0.06


def test_rounding_keeps_the_mean_and_binary_samples() -> None:
    rng = np.random.default_rng(3)
    values = rng.random((40000, 3)) * [0.1, 0.5, 1.0]
    np.testing.assert_allclose(round_to_counts(values, 1) / 40000, values.mean(axis=0), atol=0.01)
    binary = (rng.random((50, 4)) < 0.3).astype(float)
    np.testing.assert_array_equal(round_to_counts(binary, 7), binary.sum(axis=0))
    np.testing.assert_array_equal(round_to_counts(values, 5), round_to_counts(values, 5))


def test_bad_samples() -> None:
    with pytest.raises(InputError, match="seed"):
        simultaneous_bounds([[0.5, 0.2]], 0.1, "clopper_pearson")
    with pytest.raises(InputError, match=r"\[0, 1\]"):
        simultaneous_bounds([[1.5, 0.2]], 0.1, "hoeffding")
    with pytest.raises(InputError, match="2 estimation samples"):
        simultaneous_bounds([[0.5, 0.2]], 0.1, "empirical_bernstein")
    with pytest.raises(InputError, match="unknown bound"):
        simultaneous_bounds([[0.5, 0.2]], 0.1, "wishful")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="alpha"):
        simultaneous_bounds([[0.5, 0.2]], 0.0, "hoeffding")
    with pytest.raises(InputError, match="shape"):
        simultaneous_bounds([0.5, 0.2], 0.1, "hoeffding")


@pytest.mark.parametrize("kind", KINDS)
def test_nan_entries_have_nan_bounds(kind: str) -> None:
    samples = np.random.default_rng(0).random((30, 3))
    samples[4, 1] = np.nan
    found = simultaneous_bounds(samples, 0.1, kind, seed=0)
    np.testing.assert_array_equal(np.isnan(found.lower), [False, True, False])
    np.testing.assert_array_equal(np.isnan(found.upper), [False, True, False])

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.certificates.textbook import minimal_divergence, nearest_broken, renyi_divergence
from vitfaith.certificates.radii.renyi import (
    broken_divergence,
    divergence_radius,
    label_divergence,
    linf_radius,
    paper_closed_form,
    pool_threshold,
    renyi_radius,
)
from vitfaith.certificates.radii.top_k import Swap, exact_swap, ranking, swap_values
from vitfaith.certificates.settings import ORDERS
from vitfaith.errors import InputError


def random_case(seed: int) -> tuple[np.ndarray, int, int]:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(4, 7))
    k = int(rng.integers(1, n // 2 + 1))
    k0 = int(rng.integers(1, min(k, n - k) + 1))
    p = np.exp(rng.choice([0.2, 0.7, 1.5]) * rng.normal(size=n))
    return p / p.sum(), k, k0


@given(st.integers(0, 10**6), st.sampled_from([1.1, 2.0, 7.0]), st.booleans())
@settings(max_examples=25, deadline=None, derandomize=True)
def test_equals_the_numerical_minimum_over_all_swaps(seed: int, alpha: float, forward: Any) -> None:
    p, k, k0 = random_case(seed)
    direction = "to_broken" if forward else "from_broken"
    ours = float(broken_divergence(exact_swap(p, k, k0), [alpha], direction)[0])
    true = minimal_divergence(p, k, k0, alpha, forward)
    assert ours <= true + 1e-8  # never above
    assert ours == pytest.approx(true, rel=2e-4, abs=1e-8)  # and not merely below


@given(st.integers(0, 10**6), st.sampled_from([1.001, 1.5, 4.0, 40.0]))
@settings(max_examples=40, deadline=None)
def test_no_broken_map_is_nearer(seed: int, alpha: float) -> None:
    p, k, k0 = random_case(seed)
    to_broken = broken_divergence(exact_swap(p, k, k0), [alpha], "to_broken")[0]
    from_broken = broken_divergence(exact_swap(p, k, k0), [alpha], "from_broken")[0]
    rng = np.random.default_rng(seed + 1)
    order = np.argsort(-p)
    leaving, entering = order[k - k0 : k], order[k : k + k0]
    for _ in range(50):
        q = p * np.exp(0.3 * rng.normal(size=len(p)))
        meet = rng.uniform(*sorted((q[entering].min(), q[leaving].max())))
        q[leaving], q[entering] = np.minimum(q[leaving], meet), np.maximum(q[entering], meet)
        q /= q.sum()
        assert renyi_divergence(p, q, alpha) >= to_broken - 1e-12
        assert renyi_divergence(q, p, alpha) >= from_broken - 1e-12


def bisected_threshold(swap: Swap, s: float) -> float:
    """log τ from its definition, Σ_inside (h(p) - h(τ))_+ = Σ_outside (h(τ) - h(p))_+, by halving an interval."""
    u, v = np.log(swap.inside), np.log(swap.outside)
    low, high = v.min(), u.max()
    for _ in range(200):
        t = 0.5 * (low + high)
        balance = np.sign(s) * (np.expm1(s * (u[u > t] - t)).sum() + np.expm1(s * (v[v < t] - t)).sum())
        low, high = (t, high) if balance > 0 else (low, t)
    return 0.5 * (low + high)


@pytest.mark.filterwarnings("ignore:overflow")
@pytest.mark.parametrize("s", [1.001, 2.0, 200.0, -0.001, -1.0, -199.0])
def test_threshold_against_bisection(s: float) -> None:
    rng = np.random.default_rng(5)
    for _ in range(30):
        k0 = int(rng.integers(1, 8))
        p = np.sort(np.exp(rng.choice([0.01, 1.0, 8.0]) * rng.normal(size=2 * k0)))[::-1]
        swap = Swap(p[:k0], p[k0:])
        assert pool_threshold(swap, [s])[0] == pytest.approx(bisected_threshold(swap, s), abs=1e-9)


@pytest.mark.parametrize("direction", ["to_broken", "from_broken"])
def test_closed_form_is_exact_for_one_swap(direction: Any) -> None:
    p = np.random.default_rng(0).dirichlet(np.ones(12), 20)
    swap = exact_swap(p, 4, 1)
    closed = paper_closed_form(swap, direction=direction)
    assert closed.sound
    np.testing.assert_allclose(closed.divergence, broken_divergence(swap, direction=direction), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(("direction", "forward"), [("to_broken", True), ("from_broken", False)])
def test_closed_form_is_unsound_for_two_swaps(direction: Any, forward: Any) -> None:
    p = np.array([0.5, 0.1, 0.09, 0.01, 0.3])  # top 2 is {0, 4}; entry 0 need not fall for two swaps of a top 3
    swap = exact_swap(p, 3, 2)  # inside 0.3, 0.1; outside 0.09, 0.01
    closed = paper_closed_form(swap, [2.0], direction)
    true = minimal_divergence(p, 3, 2, 2.0, forward)
    assert not closed.sound
    assert closed.divergence[0] > 1.02 * true
    assert broken_divergence(swap, [2.0], direction)[0] == pytest.approx(true, rel=1e-4)


def test_closed_form_is_never_below_the_exact_value() -> None:
    p = np.random.default_rng(1).dirichlet(np.full(16, 0.5), 200)
    swap = exact_swap(p, 6, 3)
    exact, closed = broken_divergence(swap, direction="to_broken"), paper_closed_form(swap).divergence
    assert (closed >= exact - 1e-9).all()
    assert (closed > 1.05 * exact).any(axis=1).mean() > 0.1  # the error is common, not a curiosity


@given(st.integers(0, 10**6), st.sampled_from([1.2, 3.0]), st.booleans())
@settings(max_examples=12, deadline=None, derandomize=True)
def test_bounds_give_a_lower_bound_for_every_map_in_the_box(seed: int, alpha: float, forward: Any) -> None:
    rng = np.random.default_rng(seed)
    p, k, k0 = random_case(seed)
    low, high = p * rng.uniform(0.5, 1, p.shape), np.minimum(p * rng.uniform(1, 1.5, p.shape), 1)
    direction = "to_broken" if forward else "from_broken"
    order = ranking(p)
    bound = float(broken_divergence(swap_values(low, high, order, k, k0), [alpha], direction)[0])
    towards_break = np.zeros_like(p)
    towards_break[order[:k]], towards_break[order[k:]] = -1 / k, 1 / (len(p) - k)
    for step in (towards_break, *(v - v.mean() for v in rng.normal(size=(10, len(p))))):
        room = np.where(step > 0, high - p, p - low) / np.where(step == 0, 1, np.abs(step))
        moved = p + 0.999999 * room.min() * step  # on the border of the box, still summing to 1
        assert bound <= broken_divergence(swap_values(moved, moved, order, k, k0), [alpha], direction)[0] + 1e-12
    # the last one against the minimiser, so that monotonicity is not taken on trust
    assert bound <= minimal_for_set(moved, order, k, k0, alpha, forward) + 1e-8


def minimal_for_set(p: np.ndarray, order: np.ndarray, k: int, k0: int, alpha: float, forward: bool) -> float:
    """Like ``minimal_divergence`` for a set that need not be the top k of p; 0 where p itself breaks it."""
    best = np.inf
    for inside in combinations(order[:k].tolist(), k0):
        for outside in combinations(order[k:].tolist(), k0):
            if p[list(inside)].max() <= p[list(outside)].min():
                return 0.0
            best = min(best, nearest_broken(p, inside, outside, alpha, forward))
    return best


def test_vector_is_a_stack_of_singles() -> None:
    p = np.random.default_rng(2).dirichlet(np.ones(16), 9)
    for direction in ("to_broken", "from_broken", "both"):
        together = broken_divergence(exact_swap(p, 5, 2), direction=direction)
        assert together.shape == (9, len(ORDERS))
        for row, one in zip(together, p, strict=True):
            alone = broken_divergence(exact_swap(one, 5, 2), direction=direction)
            np.testing.assert_allclose(row, alone, rtol=1e-10)
            single = [broken_divergence(exact_swap(one, 5, 2), [a], direction)[0] for a in ORDERS[::16]]
            np.testing.assert_allclose(row[::16], single, rtol=1e-10)


def test_ties_and_broken_rankings_certify_nothing() -> None:
    tied = exact_swap([[0.3, 0.2, 0.2, 0.15, 0.15], [0.2] * 5], 2, 1)
    np.testing.assert_array_equal(renyi_radius(tied, 0.5), [0, 0])
    np.testing.assert_array_equal(renyi_radius(Swap(np.array([0.2, 0.1]), np.array([0.4, 0.3])), 0.5), 0)
    assert renyi_radius(Swap(np.array([0.3, 0.1]), np.array([0.25, 0.2])), 0.5) > 0  # two swaps are still needed


def test_zeros_and_extreme_orders() -> None:
    with np.errstate(all="raise", under="ignore"):
        orders = [1.001, 2.0, 200.0, 5000.0]
        p = np.array([0.6, 0.4, 0.0, 0.0])
        to_broken = broken_divergence(exact_swap(p, 2, 1), orders, "to_broken")
        from_broken = broken_divergence(exact_swap(p, 2, 1), orders, "from_broken")
    assert np.isfinite(to_broken).all()
    np.testing.assert_allclose(from_broken, -np.log(0.6), rtol=1e-9)  # only q = (1, 0, 0, 0) is absolutely continuous
    tiny = broken_divergence(exact_swap([0.6, 0.4 - 1e-12, 1e-12, 1e-300], 2, 1), orders, "from_broken")
    assert np.isfinite(tiny).all()
    assert (tiny > 0).all()


@pytest.mark.parametrize("s", [1.001, 3.0, 200.0, -0.5, -3.0, -199.0])
def test_zeros_are_the_limit_of_tiny_entries(s: float) -> None:
    rng = np.random.default_rng(6)
    for zeros in (1, 2, 3, 4):
        p = np.sort(rng.random(6))[::-1].copy()
        p[6 - zeros :] = 0
        tiny = np.where(p == 0, 1e-290, p)
        found, limit = (float(np.exp(pool_threshold(Swap(v[:3], v[3:]), [s])[0])) for v in (p, tiny))
        assert found == pytest.approx(limit, rel=1e-9, abs=1e-12)


def test_nan_maps_give_nan_and_leave_the_others_alone() -> None:
    p = np.array([[0.4, 0.3, 0.2, 0.1], [np.nan, 0.3, 0.2, 0.1]])
    radius = renyi_radius(exact_swap(p, 1, 1), 1.0)
    assert radius[0] == renyi_radius(exact_swap(p[0], 1, 1), 1.0)
    assert np.isnan(radius[1])


@given(st.floats(0.4, 0.99), st.floats(0.01, 0.99))
@settings(max_examples=30, deadline=None)
def test_label_constraint(p1: float, fraction: float) -> None:
    p2 = min(p1, 1 - p1) * fraction
    alpha = np.array([1.5, 4.0, 20.0])
    mean = (0.5 * (p1 ** (1 - alpha) + p2 ** (1 - alpha))) ** (1 / (1 - alpha))
    published = -np.log(1 - p1 - p2 + 2 * mean)
    np.testing.assert_allclose(label_divergence(p1, p2, alpha, "from_broken"), published, rtol=1e-7, atol=1e-10)
    other = alpha / (alpha - 1) * np.log(1 - p1 - p2 + 2 * (0.5 * (p1**alpha + p2**alpha)) ** (1 / alpha))
    np.testing.assert_allclose(label_divergence(p1, p2, alpha, "to_broken"), other, rtol=1e-7, atol=1e-10)
    np.testing.assert_allclose(label_divergence(p1, p2, alpha), np.maximum(published, other), rtol=1e-7, atol=1e-10)


def test_radius_scales_and_norms() -> None:
    swap = exact_swap(np.random.default_rng(3).dirichlet(np.ones(16), 4), 5, 2)
    np.testing.assert_allclose(renyi_radius(swap, 0.5), 0.5 * renyi_radius(swap, 1.0))
    gamma = broken_divergence(swap)
    slow = [max(0.25 * np.sqrt(2 * g / a) for g, a in zip(row, ORDERS, strict=True)) for row in gamma]
    np.testing.assert_allclose(divergence_radius(gamma, ORDERS, 0.25), slow)
    np.testing.assert_allclose(linf_radius([1.0, 2.0], 3 * 224 * 224), np.array([1.0, 2.0]) / np.sqrt(150528))


@pytest.mark.parametrize("orders", [[1.0], [], [0.5, 2.0], [float("inf")]])
def test_bad_orders(orders: Any) -> None:
    with pytest.raises(InputError, match="orders"):
        broken_divergence(Swap(np.array([0.5]), np.array([0.1])), orders)


def test_bad_direction() -> None:
    with pytest.raises(InputError, match="direction"):
        broken_divergence(Swap(np.array([0.5]), np.array([0.1])), [2.0], "sideways")

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr, ndtri
from scipy.stats import norm

from tests.certificates.textbook import SoftmaxMap, StepMap, breaking_margin, overlap
from vitfaith.certificates.radii.lipschitz import grouped_radius, lipschitz_radius
from vitfaith.certificates.radii.renyi import divergence_radius, paper_closed_form, renyi_radius
from vitfaith.certificates.radii.top_k import Swap, exact_swap, ranking, swaps_to_break
from vitfaith.certificates.settings import ORDERS

SOUND = {"lipschitz": lipschitz_radius, "grouped": grouped_radius, "renyi": renyi_radius}


def step_map(seed: int, sigma: float, cuts: int = 6) -> StepMap:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(6, 12))
    levels = rng.dirichlet(np.full(n, rng.choice([0.1, 0.5, 2.0])), cuts + 1)
    return StepMap(2 * sigma * rng.normal(size=cuts), levels, sigma)


def test_formula_by_loops() -> None:
    p = np.random.default_rng(0).dirichlet(np.ones(16), 6)
    k, k0, sigma = 5, 2, 0.25
    for row, radius in zip(p, lipschitz_radius(exact_swap(p, k, k0), sigma), strict=True):
        falling = sorted(row.tolist(), reverse=True)
        expected = sigma / 2 * (norm.ppf(falling[k - k0]) - norm.ppf(falling[k + k0 - 1]))
        assert radius == pytest.approx(expected, rel=1e-12)


def test_grouped_formula_by_loops() -> None:
    p = np.random.default_rng(1).dirichlet(np.ones(16), 6)
    k, k0, sigma = 7, 3, 0.25
    for row, radius in zip(p, grouped_radius(exact_swap(p, k, k0), sigma), strict=True):
        falling = sorted(row.tolist(), reverse=True)
        inside, outside = falling[k - k0 : k], falling[k : k + k0]
        gaps = [norm.ppf(sum(inside[:j])) - norm.ppf(sum(outside[k0 - j :])) for j in range(1, k0 + 1)]
        assert radius == pytest.approx(sigma / 2 * max(gaps), rel=1e-10)


@given(st.integers(0, 10**6), st.sampled_from([1.0, 3.0, float("inf")]))
@settings(max_examples=30, deadline=None)
def test_grouped_is_never_below_lipschitz(seed: int, mass: float) -> None:
    p = min(mass, 3.0) * np.random.default_rng(seed).dirichlet(np.full(14, 3.0), 4)
    swap = exact_swap(np.minimum(p, 1), 5, 3)
    assert (grouped_radius(swap, 0.5, mass) >= lipschitz_radius(swap, 0.5)).all()


def test_tight_for_a_half_space() -> None:
    sigma, x = 0.3, np.array([-0.5, -0.1, -1e-3])
    one = ndtr(-x / sigma)  # smoothed indicator of {z < 0}: the top entry changes at exactly x = 0
    maps = np.stack([one, 1 - one], axis=-1)
    np.testing.assert_allclose(lipschitz_radius(exact_swap(maps, 1, 1), sigma), -x, rtol=1e-9)


def test_lipschitz_constant_of_a_smoothed_coordinate() -> None:
    smoothed = step_map(3, sigma=0.4)
    x = np.linspace(-2, 2, 4001)
    slope = np.diff(ndtri(smoothed(x)), axis=0) / np.diff(x)[:, None]
    assert np.abs(slope).max() <= 1 / 0.4 + 1e-6


@given(st.integers(0, 10**6), st.floats(0.05, 2.0), st.sampled_from([0.4, 0.6, 0.75, 1.0]))
@settings(max_examples=60, deadline=None)
def test_no_point_inside_a_radius_breaks_the_overlap_of_a_step_map(seed: int, sigma: float, beta: float) -> None:
    smoothed = step_map(seed, sigma)
    x = float(np.random.default_rng(seed + 1).normal() * 2 * sigma)
    here = smoothed(np.array([x]))
    k = here.shape[1] // 2
    k0 = swaps_to_break(k, beta)
    if k + k0 > here.shape[1]:
        k0 = here.shape[1] - k
    swap = exact_swap(here, k, k0)
    for name, radius_of in SOUND.items():
        radius = float(radius_of(swap, sigma)[0])
        assert radius >= 0
        near = x + min(radius, 10 * sigma) * np.linspace(-1, 1, 801)[1:-1]
        kept = overlap(smoothed(near), np.broadcast_to(here, (len(near), here.shape[1])), k)
        assert (kept * k > k - k0 + 0.5).all() or radius < 1e-9, name


def test_search_in_the_plane_never_breaks_a_certificate() -> None:
    rng = np.random.default_rng(8)
    sigma, k, beta = 0.7, 4, 0.75
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    certified, broken_outside = 0, 0
    for _ in range(6):
        smoothed = SoftmaxMap(3 * rng.normal(size=(10, 2)), rng.normal(size=10), sigma)
        centre = rng.normal(size=2)
        here = smoothed(centre[None])
        swap = exact_swap(here, k, swaps_to_break(k, beta))
        for radius_of in SOUND.values():
            radius = float(radius_of(swap, sigma)[0])
            certified += int(radius > 0.01)
            for share in (0.5, 0.999999):
                there = smoothed(centre + share * radius * circle)
                assert (overlap(there, np.broadcast_to(here, there.shape), k) >= beta).all()
            far = smoothed(centre + (radius + 2.0) * circle)
            broken_outside += int((overlap(far, np.broadcast_to(here, far.shape), k) < beta).any())
    assert certified >= 6  # the loop above tested something
    assert broken_outside >= 6  # and the overlap can be broken, farther away


@given(st.integers(0, 10**6), st.sampled_from([1, 2, 3]))
@settings(max_examples=8, deadline=None, derandomize=True)
def test_no_map_at_all_breaks_a_certificate(seed: int, k0: int) -> None:
    p = np.random.default_rng(seed).dirichlet(np.ones(7))
    swap = exact_swap(p, 3, k0)
    largest = max(float(radius_of(swap, 1.0)) for radius_of in SOUND.values())
    assert breaking_margin(swap, 0.999 * largest) < 1e-9
    # the best certificate is near the truth: little farther away a map that breaks the overlap exists
    assert breaking_margin(swap, 1.25 * largest + 0.02) > 0


def test_a_map_breaks_its_overlap_inside_the_radius_of_the_closed_form() -> None:
    p = np.array([0.2229, 0.2215, 0.061, 0.2177, 0.2189, 0.0581])
    swap = exact_swap(p / p.sum(), 3, 2)
    closed = float(divergence_radius(paper_closed_form(swap, direction="from_broken").divergence, ORDERS, 1.0))
    assert breaking_margin(swap, 0.98 * closed) > 0
    assert max(float(radius_of(swap, 1.0)) for radius_of in SOUND.values()) < 0.9 * closed


def test_ties_zeros_and_nan() -> None:
    values = np.array([[0.3, 0.2, 0.2, 0.1], [0.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0], [1.0, 0.5, 0.0, 0.0]])
    np.testing.assert_array_equal(lipschitz_radius(exact_swap(values, 2, 1), 0.5), [0, 0, 0, np.inf])
    assert np.isnan(lipschitz_radius(exact_swap([np.nan, 0.2, 0.1], 1, 1), 0.5))
    assert np.isnan(grouped_radius(exact_swap([np.nan, 0.2, 0.1], 1, 1), 0.5))
    crossed = Swap(np.array([0.2, 0.1]), np.array([0.4, 0.3]))  # bounds that do not separate
    assert lipschitz_radius(crossed, 0.5) == grouped_radius(crossed, 0.5) == 0


@pytest.mark.parametrize("radius_of", SOUND.values(), ids=SOUND)
def test_vector_is_a_stack_of_singles(radius_of: Any) -> None:
    p = np.random.default_rng(4).dirichlet(np.ones(16), 7)
    together = radius_of(exact_swap(p, 6, 2), 0.5)
    np.testing.assert_allclose(together, [radius_of(exact_swap(row, 6, 2), 0.5) for row in p], rtol=1e-10)
    np.testing.assert_array_equal(ranking(p)[3], ranking(p[3]))

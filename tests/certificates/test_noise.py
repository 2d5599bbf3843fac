"""Certificates behind Laplace and uniform noise: formulas by loops, and no base map at all inside a radius breaks them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.stats import laplace, norm, uniform

from tests.certificates.textbook import LineMap, breaking_margin, law_masses, overlap
from vitfaith.certificates.norms import check_noise, norms_of
from vitfaith.certificates.of_maps import certify_maps
from vitfaith.certificates.radii.cohen import ABSTAIN, certify, certify_by_divergence
from vitfaith.certificates.radii.lipschitz import grouped_radius, lipschitz_radius
from vitfaith.certificates.radii.quantile import l2_radius, unit_quantile
from vitfaith.certificates.radii.renyi import divergence_radius, label_divergence, renyi_radius
from vitfaith.certificates.radii.top_k import exact_swap, swaps_to_break
from vitfaith.certificates.registry import CERTIFICATES
from vitfaith.certificates.settings import ORDERS
from vitfaith.errors import ConfigError, InputError
from vitfaith.noise import NOISES, Noise, scale

OTHERS: tuple[Noise, ...] = ("laplace", "uniform")
LAWS = {"gaussian": norm, "laplace": laplace, "uniform": uniform}


def law(noise: Noise, sigma: float) -> Any:
    """The law of one coordinate, from scipy."""
    size = scale(noise, sigma)
    return uniform(-size, 2 * size) if noise == "uniform" else LAWS[noise](0, size)


@pytest.mark.parametrize("noise", NOISES)
def test_quantiles_are_those_of_scipy(noise: Any) -> None:
    p = np.array([0.0, 1e-9, 0.1, 0.5, 0.7, 1 - 1e-9, 1.0])
    np.testing.assert_allclose(0.3 * unit_quantile(p, noise), law(noise, 0.3).ppf(p), rtol=1e-9, atol=1e-12)
    assert unit_quantile(0.5, noise) == 0


@pytest.mark.parametrize("noise", NOISES)
def test_a_radius_of_nothing_has_no_sign(noise: Noise) -> None:
    """At a probability of exactly ½, as one vote of one gives at alpha = ½, tables would show -0."""
    assert not np.signbit(unit_quantile(0.5, noise))
    found = certify([[1, 0]], [[1, 0]], 0.25, 0.5, noise)
    assert found.prediction[0] == 0
    assert found.radius[0] == 0
    assert not np.signbit(found.radius[0])


def test_formulas_of_maps_by_loops() -> None:
    maps = np.random.default_rng(0).random((6, 16))
    k, k0, sigma = 5, 2, 0.25
    b, half = sigma / np.sqrt(2), sigma * np.sqrt(3)

    def psi(w: float) -> float:
        return b * np.log(2 * w) if w <= 0.5 else -b * np.log(2 * (1 - w))

    swap = exact_swap(maps, k, k0)
    for i, row in enumerate(maps):
        falling = sorted(row.tolist(), reverse=True)
        inside, outside = falling[k - k0], falling[k + k0 - 1]
        assert lipschitz_radius(swap, sigma, "uniform")[i] == pytest.approx(half * (inside - outside), rel=1e-12)
        assert lipschitz_radius(swap, sigma, "laplace")[i] == pytest.approx((psi(inside) - psi(outside)) / 2, rel=1e-12)


@pytest.mark.parametrize("noise", OTHERS)
@given(seed=st.integers(0, 10**6))
@settings(max_examples=20, deadline=None)
def test_grouped_is_never_below_lipschitz(noise: Any, seed: int) -> None:
    p = np.random.default_rng(seed).dirichlet(np.full(14, 3.0), 4)
    swap = exact_swap(p, 5, 3)
    assert (grouped_radius(swap, 0.5, 1.0, noise) >= lipschitz_radius(swap, 0.5, noise) - 1e-15).all()


def test_grouped_uniform_is_the_gap_of_sums() -> None:
    p = np.random.default_rng(1).dirichlet(np.ones(16), 6)
    k, k0, sigma = 7, 3, 0.25
    for row, radius in zip(p, grouped_radius(exact_swap(p, k, k0), sigma, 1.0, "uniform"), strict=True):
        falling = sorted(row.tolist(), reverse=True)
        inside, outside = falling[k - k0 : k], falling[k : k + k0]
        gaps = [sum(inside[:j]) - sum(outside[k0 - j :]) for j in range(1, k0 + 1)]
        assert radius == pytest.approx(sigma * np.sqrt(3) * max(gaps), rel=1e-10)


def test_formulas_of_predictions_by_loops() -> None:
    counts = np.array([[700, 300], [990, 10], [520, 480], [1000, 0]])
    sigma, b, half = 0.25, 0.25 / np.sqrt(2), 0.25 * np.sqrt(3)
    for noise in OTHERS:
        found = certify(counts, counts, sigma, 0.001, noise)
        for p, radius, prediction in zip(found.lower, found.radius, found.prediction, strict=True):
            if p < 0.5:
                assert (radius, prediction) == (0, ABSTAIN)
            else:
                assert radius == pytest.approx(2 * half * (p - 0.5) if noise == "uniform" else -b * np.log(2 * (1 - p)))
        assert found.prediction.tolist() == [0, 0, ABSTAIN, 0]


@pytest.mark.parametrize("noise", NOISES)
def test_quantile_of_a_smoothed_function_is_lipschitz_in_l1(noise: Any) -> None:
    """The lemma, in the plane: random step functions of two coordinates, both of which move."""
    rng = np.random.default_rng(3)
    sigma, largest = 0.4, 0.0
    marginal = law(noise, sigma)
    for _ in range(40):
        cuts = [np.sort(rng.normal(size=4)) * 0.5 for _ in range(2)]
        levels = rng.random((5, 5)) ** rng.choice([0.3, 1.0, 3.0])

        def smoothed(x: np.ndarray, cuts: list[np.ndarray] = cuts, levels: np.ndarray = levels) -> float:
            masses = [
                np.diff(marginal.cdf(np.concatenate([[-np.inf], c - at, [np.inf]])))
                for c, at in zip(cuts, x, strict=True)
            ]
            return float(masses[0] @ levels @ masses[1])

        here, step = rng.normal(size=2) * 0.3, rng.normal(size=2) * 0.2
        moved = abs(unit_quantile(smoothed(here + step), noise) - unit_quantile(smoothed(here), noise)) * sigma
        largest = max(largest, float(moved) / np.abs(step).sum())
    assert 0.1 < largest <= 1 + 1e-9


@pytest.mark.parametrize("noise", OTHERS)
@pytest.mark.parametrize("p", [0.55, 0.8, 0.97])
def test_prediction_radius_is_the_best_possible(noise: Any, p: float) -> None:
    """A half-space in one coordinate has exactly this radius, and the worst region of a fine line has none smaller."""
    sigma = 0.3
    radius = float(sigma * unit_quantile(p, noise))
    half_space = brentq(lambda r: law(noise, sigma).cdf(law(noise, sigma).ppf(p) - r) - 0.5, 0, 5)
    assert radius == pytest.approx(half_space, rel=1e-9)
    before, after = law_masses(noise, sigma, 0.999 * radius)
    assert least_mass(before, after, p) >= 0.5 - 1e-9  # no classifier at all loses its majority inside
    assert least_mass(*law_masses(noise, sigma, 1.001 * radius), p) < 0.5


def least_mass(before: np.ndarray, after: np.ndarray, p: float) -> float:
    """Smallest mass under ``after`` of a (randomised) region of mass p under ``before`` (Neyman and Pearson)."""
    ratio = np.divide(after, before, out=np.full_like(after, np.inf), where=before > 0)
    order = np.argsort(ratio, kind="stable")
    taken = np.clip(p - np.concatenate([[0], np.cumsum(before[order])[:-1]]), 0, before[order])
    share = np.divide(taken, before[order], out=np.zeros_like(taken), where=before[order] > 0)
    return float((share * after[order]).sum())


@pytest.mark.parametrize("noise", OTHERS)
@given(seed=st.integers(0, 10**6), k0=st.sampled_from([1, 2, 3]))
@settings(max_examples=8, deadline=None, derandomize=True)
def test_no_map_at_all_breaks_a_certificate(noise: Any, seed: int, k0: int) -> None:
    """Linear programming over all base maps that are probability vectors, on a line."""
    p = np.random.default_rng(seed).dirichlet(np.ones(7))
    swap = exact_swap(p, 3, k0)
    largest = float(grouped_radius(swap, 1.0, 1.0, noise))
    assert largest >= float(lipschitz_radius(swap, 1.0, noise))
    assert breaking_margin(swap, 0.999 * largest, law_masses(noise, 1.0, 0.999 * largest)) < 1e-9
    beyond = 1.35 * largest + 0.02
    assert breaking_margin(swap, beyond, law_masses(noise, 1.0, beyond)) > 0


@pytest.mark.parametrize("noise", OTHERS)
@given(seed=st.integers(0, 10**6), beta=st.sampled_from([0.4, 0.6, 1.0]))
@settings(max_examples=40, deadline=None)
def test_no_point_inside_a_radius_breaks_the_overlap_of_a_step_map(noise: Any, seed: int, beta: float) -> None:
    rng = np.random.default_rng(seed)
    sigma, n = float(rng.uniform(0.1, 1)), int(rng.integers(6, 12))
    smoothed = LineMap(
        2 * sigma * rng.normal(size=6), rng.dirichlet(np.full(n, rng.choice([0.1, 0.5, 2.0])), 7), law(noise, sigma)
    )
    x = float(rng.normal() * sigma)
    here = smoothed(np.array([x]))
    k = n // 2
    k0 = min(swaps_to_break(k, beta), n - k)
    swap = exact_swap(here, k, k0)
    found = {"lipschitz": lipschitz_radius(swap, sigma, noise), "grouped": grouped_radius(swap, sigma, 1.0, noise)}
    if noise == "laplace":
        found["renyi"] = renyi_radius(swap, scale(noise, sigma))
    for name, radii in found.items():
        radius = float(radii[0])
        near = x + min(radius, 10 * sigma) * np.linspace(-1, 1, 401)[1:-1]
        kept = overlap(smoothed(near), np.broadcast_to(here, (len(near), n)), k)
        assert (kept * k > k - k0 + 0.5).all() or radius < 1e-9, name


@pytest.mark.parametrize("alpha", [1.001, 2.0, 7.0, 60.0])
def test_divergence_of_shifted_laplace_noise_is_at_most_the_gaussian_one(alpha: float) -> None:
    """D_α ≤ α t²/(2b²), the lemma behind ``renyi`` and ``renyi_prediction`` behind Laplace noise."""
    for t in (1e-3, 0.1, 1.0, 3.0):
        exact = np.log(alpha * np.exp((alpha - 1) * t) + (alpha - 1) * np.exp(-alpha * t)) - np.log(2 * alpha - 1)
        assert exact / (alpha - 1) <= alpha * t * t / 2 * (1 + 1e-9)
        if alpha == 2.0:  # the closed form is the integral
            ends = {"points": [0, t], "limit": 200}
            value = quad(lambda z, t=t: laplace.pdf(z) ** 2 / laplace.pdf(z - t), -30, 30, **ends)[0]
            assert np.log(value) == pytest.approx(exact, rel=1e-6, abs=1e-9)
        if t == 1e-3 and alpha < 10:  # and no smaller constant would do
            assert exact / (alpha - 1) == pytest.approx(alpha * t * t / 2, rel=0.02)


def test_prediction_by_divergence() -> None:
    counts = np.array([[700, 300], [990, 10], [520, 480]])
    found, votes = certify_by_divergence(counts, counts, 0.25), certify(counts, counts, 0.25)
    np.testing.assert_array_equal(found.prediction, votes.prediction)
    np.testing.assert_array_equal(found.lower, votes.lower)
    for p, radius in zip(found.lower[:2], found.radius[:2], strict=True):
        expected = divergence_radius(label_divergence(p, 1 - p), ORDERS, 0.25)
        assert radius == pytest.approx(float(expected), rel=1e-12)
    assert (found.radius[:2] < votes.radius[:2]).all()  # Neyman and Pearson's region is optimal for Gaussian noise
    assert (found.radius[:2] > 0.7 * votes.radius[:2]).all()
    assert found.radius[2] == 0


def test_a_majority_that_a_laplace_smoothed_classifier_keeps() -> None:
    """In 60 dimensions, the worst half-space along the diagonal: kept inside the radius by divergence, which is far beyond R₁/√d."""
    rng = np.random.default_rng(0)
    dimensions, b, p = 60, 1.0, 0.9
    z = rng.laplace(0, b, (40_000, dimensions))
    radius = float(divergence_radius(label_divergence(p, 1 - p), ORDERS, b))
    one = float(np.sqrt(2) * b * unit_quantile(p, "laplace")) / np.sqrt(dimensions)
    assert radius > 4 * one
    step = radius / np.sqrt(dimensions)
    ratio = (np.abs(z) - np.abs(z - step)).sum(
        1
    )  # log-likelihood of the shifted noise: the worst region by Neyman and Pearson
    cut = np.quantile(ratio, p)
    moved = (np.abs(z + step) - np.abs(z)).sum(1)
    assert (moved <= cut).mean() >= 0.5


def test_uniform_noise_has_a_map_that_moves_by_the_whole_bound() -> None:
    """1 − ∏(1 − |δ_i|/2λ) is reached by the indicator of the box, and is at least 1 − exp(−‖δ‖₁/2λ)."""
    rng = np.random.default_rng(5)
    half, dimensions = 0.5, 784
    for share in (0.1, 0.5, 0.69):
        step = rng.random(dimensions)
        step *= share * 2 * half / step.sum()
        outside = 1 - np.prod(1 - step / (2 * half))
        assert outside <= share
        assert outside >= 1 - np.exp(-share)


@pytest.mark.parametrize("noise", NOISES)
def test_norms(noise: Any) -> None:
    for entry in CERTIFICATES:
        if noise not in norms_of(entry):
            with pytest.raises(
                ConfigError, match=rf"here: certificate '{entry.name}' holds behind .*, not behind {noise} noise"
            ):
                check_noise("here", entry, noise)
    assert l2_radius(3.0, "l1", 9) == 1.0
    assert l2_radius(3.0, "l2", 9) == 3.0
    with pytest.raises(InputError, match="dimensions"):
        l2_radius(1.0, "l1", 0)


@pytest.mark.parametrize("noise", OTHERS)
def test_rows_have_the_radius_in_l2_and_linf(noise: Any) -> None:
    rng = np.random.default_rng(0)
    raw = np.exp(np.linspace(3, 0, 9) + 0.5 * rng.normal(size=(2, 500, 9)))
    single = CERTIFICATES["lipschitz"].traits["single"]
    tables = {
        law_: certify_maps(
            raw[:, :100], raw[:, 100:], "lipschitz", single(k=3, beta=0.5, sigma=0.25, base="vote", noise=law_),
            image_ids=["a", "b"], method="m", dimensions=16,
        ).to_pandas()
        for law_ in ("gaussian", noise)
    }  # fmt: skip
    own, gaussian = tables[noise], tables["gaussian"]
    np.testing.assert_array_equal(own.inside, gaussian.inside)  # the same bounds from the same samples
    expected = 0.25 / 2 * (unit_quantile(own.inside, noise) - unit_quantile(own.outside, noise)) / 4
    np.testing.assert_allclose(own.radius, expected)
    np.testing.assert_allclose(own.linf, own.radius / 4)
    renyi = CERTIFICATES["renyi"].traits["single"](k=3, beta=0.5, sigma=0.25, base="vote", noise="uniform")
    with pytest.raises(
        ConfigError, match=r"certificates\.renyi: certificate 'renyi' holds behind gaussian or laplace noise"
    ):
        certify_maps(raw[:, :100], raw[:, 100:], "renyi", renyi, image_ids=["a", "b"], method="m", dimensions=16)

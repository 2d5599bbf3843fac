"""The numbers printed in docs/noise.md are what the code gives, and its limit for many pixels is reached."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri
from scipy.stats import laplace

from vitfaith.certificates.norms import norms_of
from vitfaith.certificates.radii.quantile import unit_quantile
from vitfaith.certificates.radii.renyi import divergence_radius, label_divergence
from vitfaith.certificates.registry import CERTIFICATES
from vitfaith.certificates.settings import ORDERS
from vitfaith.noise import NOISES, scale

TEXT = (Path(__file__).parents[2] / "docs" / "noise.md").read_text(encoding="utf-8")
ROWS = [line for line in TEXT.split("## Size of the radii\n")[1].splitlines() if line.startswith("| 0.")]


@pytest.mark.parametrize("line", ROWS, ids=lambda line: line.split("|")[1].strip())
def test_table_of_radii(line: str) -> None:
    p = float(line.split("|")[1])
    gaussian, exponential, flat = (float(unit_quantile(p, noise)) for noise in NOISES)
    divergence = float(divergence_radius(label_divergence(p, 1 - p), ORDERS, scale("laplace", 1.0)))
    root = np.sqrt(784)
    cells = [gaussian, exponential, flat, gaussian, exponential / root, divergence, gaussian / np.sqrt(2), flat / root]
    assert line == "| " + " | ".join([f"{p:g}", *(f"{cell:.3f}" for cell in cells)]) + " |"


def test_laplace_noise_loses_a_factor_between_the_root_of_two_and_1_8() -> None:
    for p in np.linspace(0.501, 0.9999, 60):
        divergence = float(divergence_radius(label_divergence(p, 1 - p), ORDERS, scale("laplace", 1.0)))
        assert np.sqrt(2) < float(unit_quantile(p, "gaussian")) / divergence < 1.8


@pytest.mark.parametrize(("a", "b"), [("uniform", "gaussian"), ("uniform", "laplace"), ("gaussian", "laplace")])
def test_where_the_curves_cross_in_l1(a: str, b: str) -> None:
    gap = lambda p: float(unit_quantile(p, a) - unit_quantile(p, b))  # type: ignore[arg-type]  # noqa: E731
    assert f"{brentq(gap, 0.6, 0.999):.3f}" in TEXT


def test_three_forms_of_the_laplace_radius() -> None:
    for u, low in ((0.4, 0.1), (0.9, 0.2), (0.9, 0.6), (0.5, 0.5)):
        gap = float(unit_quantile(u, "laplace") - unit_quantile(low, "laplace")) / 2
        b = scale("laplace", 1.0)
        if u <= 0.5:
            assert gap == pytest.approx(b / 2 * np.log(u / low))
        elif low >= 0.5:
            assert gap == pytest.approx(b / 2 * np.log((1 - low) / (1 - u)))
        else:
            assert gap == pytest.approx(-b / 2 * np.log(4 * low * (1 - u)))
        assert gap >= -b * np.log(1 - u + low) - 1e-12
    everywhere = np.sort(np.random.default_rng(0).random((1000, 2)), axis=1)
    gaps = (unit_quantile(everywhere[:, 1], "laplace") - unit_quantile(everywhere[:, 0], "laplace")) / 2
    assert (gaps >= -scale("laplace", 1.0) * np.log(1 - everywhere[:, 1] + everywhere[:, 0]) - 1e-12).all()


def test_fisher_information() -> None:
    """I = 1/b² for Laplace noise, and no law of variance 1 has less than 1: mixtures of the two beside it."""
    b = scale("laplace", 1.0)
    found = quad(lambda z: laplace.pdf(z, 0, b) / b**2, -30, 30, points=[0])[0]
    assert found == pytest.approx(2, rel=1e-6)
    for share in (0.1, 0.5, 0.9):

        def density(z: float, share: float = share) -> float:
            return share * np.exp(-z * z / 2) / np.sqrt(2 * np.pi) + (1 - share) * float(laplace.pdf(z, 0, b))

        def squared_score(z: float, share: float = share) -> float:
            slope = -share * z * np.exp(-z * z / 2) / np.sqrt(2 * np.pi)
            slope -= (1 - share) * np.sign(z) / b * float(laplace.pdf(z, 0, b))
            return slope**2 / density(z, share)

        assert 1 < quad(squared_score, -30, 30, points=[0], limit=200)[0] < 2


@pytest.mark.parametrize("p", [0.8, 0.95])
def test_limit_of_laplace_noise_along_the_diagonal(p: float) -> None:
    """The worst function's mean after the shift, sampled in 400 dimensions, is Φ(Φ⁻¹(p) − r√2/σ)."""
    rng, dimensions, count = np.random.default_rng(0), 400, 20_000
    b = scale("laplace", 1.0)
    for r in (0.5, ndtri(p) / np.sqrt(2), 1.5):
        step = r / np.sqrt(dimensions)
        before, after = np.zeros(count), np.zeros(count)
        for _ in range(dimensions):
            z = rng.laplace(0, b, count)
            before += np.abs(z) - np.abs(z - step)  # b times the log-likelihood ratio, around x
            z = rng.laplace(0, b, count)
            after += np.abs(z + step) - np.abs(z)  # and around x + δ
        smallest = (after <= np.quantile(before, p)).mean()
        assert smallest == pytest.approx(ndtr(ndtri(p) - r * np.sqrt(2)), abs=0.03)


def test_exact_linf_radius_of_uniform_noise() -> None:
    for s in (0.01, 0.2, 0.5):
        for d in (1, 9, 784):
            exact, by_l1 = 2 * (1 - (1 - s) ** (1 / d)), 2 * s / d
            assert by_l1 <= exact * (1 + 1e-9)
            assert exact <= -2 * np.log(1 - s) / d + 1e-12
            assert exact / by_l1 <= 2 * np.log(2) + 1e-9


def test_what_is_refused_is_as_described() -> None:
    told = {noise: {e.name for e in CERTIFICATES if noise not in norms_of(e)} for noise in NOISES}
    assert told == {
        "gaussian": set(),
        "laplace": {"faithfulness", "paper_closed_form"},
        "uniform": {"faithfulness", "paper_closed_form", "renyi", "renyi_prediction"},
    }

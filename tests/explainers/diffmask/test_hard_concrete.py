"""The hard concrete distribution: against samples, numerical integration and finite differences."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.special import expit

from vitfaith.errors import ConfigError
from vitfaith.explainers.diffmask.hard_concrete import HardConcrete, product

SHAPES = [HardConcrete(), HardConcrete(0.2, -0.1, 1.1), HardConcrete(2 / 3, -0.1, 1.1), HardConcrete(0.05, -1.0, 1.0)]
every_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)


def textbook_sample(shape: HardConcrete, u: float, noise: float) -> float:
    """The definition, one number at a time."""
    s = expit((u + math.log(noise / (1 - noise))) / shape.temperature)
    return min(1.0, max(0.0, s * (shape.high - shape.low) + shape.low))


@every_shape
@pytest.mark.parametrize("u", [-3.0, 0.0, 1.0, 5.0])
def test_moments_of_samples(shape: HardConcrete, u: float) -> None:
    count = 200_000
    noise = torch.rand(count, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    z = shape.sample(torch.full((count,), u, dtype=torch.float64), noise)
    location = torch.tensor(u, dtype=torch.float64)
    for samples, expected in ((z, shape.expected(location)), ((z > 0).double(), shape.log_positive(location).exp())):
        error = float(samples.std()) / math.sqrt(count)
        assert abs(float(samples.mean()) - float(expected)) < 4.5 * error + 1e-9
    assert 0 <= float(z.min()) <= float(z.max()) <= 1


@every_shape
def test_samples_against_the_definition(shape: HardConcrete) -> None:
    noise = torch.rand(50, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for u in (-2.0, 0.3, 4.0):
        found = shape.sample(torch.full((50,), u, dtype=torch.float64), noise)
        assert found.tolist() == pytest.approx([textbook_sample(shape, u, e) for e in noise.tolist()], abs=1e-12)


@every_shape
@given(u=st.floats(-30, 30))
@settings(max_examples=15, deadline=None)
def test_expectation_against_adaptive_integration(shape: HardConcrete, u: float) -> None:
    """E[z] = ∫ P(z > t) dt over the logit of the uniform sample, integrated piece by piece."""
    start = math.log(-shape.low / shape.high)
    end = 700.0 if shape.high == 1 else math.log((1 - shape.low) / (shape.high - 1))

    def rate(v: float) -> float:
        return (shape.high - shape.low) * expit(v) * expit(-v) * expit(u - shape.temperature * v)

    edges = [start, *(p for p in (5, 10, 20, 40) if start < p < end), end]
    expected = sum(quad(rate, a, b, epsabs=1e-300, epsrel=1e-11, limit=200)[0] for a, b in itertools.pairwise(edges))
    wide = torch.tensor(u, dtype=torch.float64)
    assert float(shape.expected(wide)) == pytest.approx(expected, rel=1e-9)
    assert float(shape.log_expected(wide)) == pytest.approx(math.log(expected), abs=1e-9)
    assert float(shape.expected(wide.float())) == pytest.approx(expected, rel=2e-6)


def test_values_of_the_paper() -> None:
    """−0.2 and 1 at τ = 0.2 shift the logit by 0.3219; E[z] is smaller than P(z > 0)."""
    shape, u = HardConcrete(), torch.tensor([3.0, 5.0, 0.0])
    assert shape.shift == pytest.approx(0.3219, abs=1e-4)
    assert shape.log_positive(u).exp().tolist() == pytest.approx([0.965, 0.995, 0.580], abs=1e-3)
    assert shape.expected(u).tolist() == pytest.approx([0.946, 0.992, 0.474], abs=1e-3)


@every_shape
def test_gradients_against_finite_differences(shape: HardConcrete) -> None:
    u = torch.linspace(-4, 6, 41, dtype=torch.float64, requires_grad=True)
    noise = torch.rand(41, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    for function in (lambda x: shape.sample(x, noise), shape.expected, shape.log_expected, shape.log_positive):
        (found,) = torch.autograd.grad(function(u).sum(), u)
        step = 1e-6
        with torch.no_grad():
            expected = (function(u + step) - function(u - step)) / (2 * step)
        assert torch.allclose(found, expected, rtol=1e-4, atol=1e-6)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_product_in_logs_and_its_gradient(seed: int) -> None:
    """Equal to the plain product of clamped factors, with the plain gradient, also around zeros."""
    values = torch.rand(4, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 1.4 - 0.2
    values[0, 0] = -0.1
    mine, plain = (values.clone().requires_grad_() for _ in range(2))
    found, expected = product(mine, 0), plain.clamp(0, 1).prod(0)
    assert torch.allclose(found, expected, rtol=1e-12, atol=0)
    weights = torch.arange(1, 6).double()
    (found * weights).sum().backward()
    (expected * weights).sum().backward()
    assert torch.isfinite(mine.grad).all()
    assert torch.allclose(mine.grad, plain.grad, rtol=1e-10, atol=1e-14)


def test_extreme_noise_and_locations_stay_finite() -> None:
    shape, noise = HardConcrete(), torch.tensor([0.0, 1.0 - 2**-24, 0.5])
    for u in (-1e4, -30.0, 30.0, 1e4):
        location = torch.full((3,), u, requires_grad=True)
        z = shape.sample(location, noise)
        (z.sum() + shape.log_expected(location).sum() + shape.log_positive(location).sum()).backward()
        assert torch.isfinite(z).all()
        assert torch.isfinite(location.grad).all()


@pytest.mark.parametrize("wrong", [(0.0, -0.2, 1.0), (0.2, 0.0, 1.0), (0.2, -0.2, 0.9)])
def test_a_distribution_that_is_none_is_refused(wrong: tuple[float, float, float]) -> None:
    with pytest.raises(ConfigError, match="no hard concrete"):
        HardConcrete(*wrong)


def test_the_quadrature_sums_to_one() -> None:
    for shape in SHAPES:
        nodes, weights = shape._rule
        assert np.all(weights > 0)
        assert weights.sum() == pytest.approx(1, abs=1e-12)
        assert np.all(np.diff(nodes) > 0)

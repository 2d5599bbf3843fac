"""The laws of noise: moments and distribution against scipy, and the same bits whatever the batch."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import kstest, laplace, norm, uniform

from vitfaith.noise import NOISES, Noise, certified_noise, scale, shaped
from vitfaith.registry import Parameters
from vitfaith.smoothings.dds import DdsParameters

LAWS = {
    "gaussian": norm(0, 1),
    "laplace": laplace(0, 0.5**0.5),
    "uniform": uniform(-(3**0.5), 2 * 3**0.5),
}


@pytest.mark.parametrize("noise", NOISES)
def test_standard_normal_numbers_become_the_law_with_variance_one(noise: Noise) -> None:
    drawn = shaped(torch.randn(200_000, generator=torch.Generator().manual_seed(0)), noise)
    assert drawn.dtype == torch.float32
    assert kstest(drawn.double().numpy(), LAWS[noise].cdf).pvalue > 0.01
    assert float(drawn.mean()) == pytest.approx(0, abs=0.01)
    assert float(drawn.std()) == pytest.approx(1, abs=0.01)
    assert bool(drawn.isfinite().all())


@pytest.mark.parametrize("noise", NOISES)
def test_each_number_is_the_quantile_at_its_probability(noise: Noise) -> None:
    z = torch.linspace(-5.5, 5.5, 4001, dtype=torch.float64)
    expected = torch.from_numpy(LAWS[noise].ppf(norm.cdf(-z.abs()))) * -z.sign()
    torch.testing.assert_close(shaped(z.float(), noise).double(), expected, rtol=2e-5, atol=2e-6)
    assert bool((shaped(z.float(), noise).diff() >= 0).all())


@pytest.mark.parametrize("noise", NOISES)
def test_no_bit_depends_on_the_batch(noise: Noise) -> None:
    z = torch.randn(7, 3, 5, 9, generator=torch.Generator().manual_seed(1))
    whole = shaped(z, noise)
    for i in range(7):
        assert torch.equal(shaped(z[i : i + 1].clone(), noise)[0], whole[i])
    assert torch.equal(shaped(z[[5, 0, 3]], noise), whole[[5, 0, 3]])
    assert torch.equal(shaped(z.flatten()[13:14].clone(), noise), whole.flatten()[13:14])


def test_scales_by_hand() -> None:
    assert scale("gaussian", 0.25) == 0.25
    assert scale("laplace", 0.25) == pytest.approx(0.1767766953)  # variance 2b²
    assert scale("uniform", 0.25) == pytest.approx(0.4330127019)  # variance λ²/3


def test_noise_of_parameters() -> None:
    assert certified_noise(Parameters()) == "gaussian"
    assert certified_noise(DdsParameters(sigma=0.1, denoiser="d", noise="uniform")) == "uniform"

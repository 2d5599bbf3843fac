from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtr
from scipy.stats import binomtest, norm

from vitfaith.certificates.radii.cohen import ABSTAIN, certify
from vitfaith.errors import InputError


def test_against_the_published_algorithm_in_loops() -> None:
    rng = np.random.default_rng(0)
    shares = rng.dirichlet(np.full(5, 0.3), 40)
    selection = np.array([rng.multinomial(100, s) for s in shares])
    estimation = np.array([rng.multinomial(1000, s) for s in shares])
    found = certify(selection, estimation, sigma=0.25, alpha=0.001)
    decided = 0
    for i in range(40):
        best = int(np.argmax(selection[i]))
        low = binomtest(int(estimation[i, best]), 1000).proportion_ci(0.998, "exact").low
        assert found.lower[i] == pytest.approx(low, rel=1e-9, abs=1e-12)
        if low < 0.5:
            assert (found.prediction[i], found.radius[i]) == (ABSTAIN, 0.0)
        else:
            decided += 1
            assert found.prediction[i] == best
            assert found.radius[i] == pytest.approx(0.25 * norm.ppf(low), rel=1e-9)
    assert 0 < decided < 40


def test_best_possible_radius_of_n_samples() -> None:
    found = certify([[100, 0]], [[100000, 0]], sigma=1.0, alpha=0.001)
    assert found.radius[0] == pytest.approx(
        norm.ppf(0.001 ** (1 / 100000)), rel=1e-6
    )  # 3.81, Cohen et al., section 3.2.2
    assert found.radius[0] == pytest.approx(3.81, abs=0.01)


def test_radius_never_passes_the_true_boundary() -> None:
    rng = np.random.default_rng(1)
    sigma, distance, alpha, repeats = 0.5, 0.4, 0.1, 600
    p = ndtr(distance / sigma)  # a half-space classifier: the true radius is the distance
    hits = rng.binomial(200, p, repeats)
    counts = np.stack([hits, 200 - hits], axis=1)
    found = certify(np.tile([10, 0], (repeats, 1)), counts, sigma, alpha)
    assert (found.radius > distance).mean() <= alpha + 3 * np.sqrt(alpha * (1 - alpha) / repeats)
    assert np.median(found.radius) > 0.5 * distance


def test_bad_counts() -> None:
    with pytest.raises(InputError, match="selection"):
        certify([[1, 0]], [[1, 0, 0]], 0.5)
    with pytest.raises(InputError, match="vote"):
        certify([[0, 0]], [[1, 0]], 0.5)
    with pytest.raises(InputError, match="trials"):
        certify([[1, 0]], [[0, 0]], 0.5)

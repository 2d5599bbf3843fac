"""Kendall's τ of two orders of methods, with a bootstrap over images."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kendalltau

from vitfaith.errors import InputError
from vitfaith.statistics.orders import order_agreement


def test_tau_and_interval_are_those_of_a_loop() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 6)) + np.arange(6) / 8, rng.normal(size=(40, 6)) + np.arange(6) / 8
    tau, low, high = order_agreement(x, y, resamples=4000, seed=1)
    assert tau == pytest.approx(kendalltau(x.mean(0), y.mean(0)).statistic)
    drawn = []
    for _ in range(4000):
        rows = rng.integers(0, 40, 40)
        drawn.append(kendalltau(x[rows].mean(0), y[rows].mean(0)).statistic)
    np.testing.assert_allclose([low, high], np.quantile(drawn, [0.025, 0.975]), atol=0.08)


def test_clear_orders_and_clusters() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 4)) * 0.01 + np.arange(4)
    assert order_agreement(x, x + 1) == (1, 1, 1)
    assert order_agreement(x, -x) == (-1, -1, -1)
    noisy = rng.normal(size=(10, 4)).repeat(5, 0)
    codes = np.arange(10).repeat(5)
    alone, together = order_agreement(noisy, x), order_agreement(noisy, x, codes=codes)
    assert alone[0] == together[0]
    assert together[2] - together[1] >= alone[2] - alone[1]


def test_wrong_shapes() -> None:
    with pytest.raises(InputError, match="same images and methods"):
        order_agreement(np.zeros((3, 2)), np.zeros((3, 3)))
    with pytest.raises(InputError, match="finite"):
        order_agreement(np.full((3, 2), np.nan), np.zeros((3, 2)))

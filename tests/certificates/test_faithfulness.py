from __future__ import annotations

import numpy as np
import pytest

from vitfaith.certificates.radii.faithfulness import faithfulness, limiting_part
from vitfaith.certificates.radii.renyi import broken_divergence, label_divergence, renyi_radius
from vitfaith.certificates.radii.top_k import exact_swap
from vitfaith.certificates.settings import ORDERS
from vitfaith.errors import InputError

RNG = np.random.default_rng(0)
MAPS = RNG.dirichlet(np.ones(16), 12)
CLASSES = RNG.dirichlet(np.full(5, 0.3), 12) * 0.98 + 0.004  # no class has probability 0
SIGMA, K, BETA, K0 = 0.25, 5, 0.6, 3


def test_parts_by_loops() -> None:
    found = faithfulness(MAPS, CLASSES, K, BETA, SIGMA)
    for i in range(12):
        top = sorted(CLASSES[i].tolist(), reverse=True)
        broken = broken_divergence(exact_swap(MAPS[i], K, K0))
        allowed = label_divergence(top[0], top[1])
        map_part = max(SIGMA * np.sqrt(2 * g / a) for g, a in zip(broken, ORDERS, strict=True))
        label_part = max(SIGMA * np.sqrt(2 * g / a) for g, a in zip(allowed, ORDERS, strict=True))
        single = max(SIGMA * np.sqrt(2 * min(g, h) / a) for g, h, a in zip(broken, allowed, ORDERS, strict=True))
        np.testing.assert_allclose(
            [found.map_radius[i], found.prediction_radius[i], found.single_order_radius[i], found.radius[i]],
            [map_part, label_part, single, min(map_part, label_part)],
            rtol=1e-9,
        )
        assert found.limit[i] == ("map" if map_part <= label_part else "prediction")
    assert (found.single_order_radius <= found.radius + 1e-12).all()
    assert set(found.limit.tolist()) == {"map", "prediction"}


def test_given_gamma() -> None:
    gamma, order = 2e-4, 3.0
    found = faithfulness(MAPS, CLASSES, K, BETA, SIGMA, gamma=gamma, order=order)
    np.testing.assert_allclose(found.prediction_radius, SIGMA * np.sqrt(2 * gamma / order))
    np.testing.assert_allclose(found.map_radius, renyi_radius(exact_swap(MAPS, K, K0), SIGMA))
    np.testing.assert_allclose(found.radius, np.minimum(found.map_radius, found.prediction_radius))
    assert (found.single_order_radius <= found.radius + 1e-12).all()
    # the divergence of the noise at that radius is gamma: nothing downstream can move further
    assert order * (SIGMA * np.sqrt(2 * gamma / order)) ** 2 / (2 * SIGMA**2) == pytest.approx(gamma)


def test_nan_rows_are_flagged_not_dropped() -> None:
    maps, classes = MAPS[:3].copy(), CLASSES[:3].copy()
    maps[1, 4], classes[2, 0] = np.nan, np.nan
    for settings in ({}, {"gamma": 0.01}):
        found = faithfulness(maps, classes, K, BETA, SIGMA, **settings)
        np.testing.assert_array_equal(np.isnan(found.radius), [False, True, True])
        assert found.limit.tolist()[1:] == ["", ""]
        alone = faithfulness(maps[:1], classes[:1], K, BETA, SIGMA, **settings)
        np.testing.assert_allclose(found.radius[0], alone.radius[0], rtol=1e-10)


def test_limiting_part() -> None:
    radius, name = limiting_part([0.1, 0.3, np.nan, 0.2], [0.2, 0.1, 0.1, 0.2])
    np.testing.assert_array_equal(radius, [0.1, 0.1, np.nan, 0.2])
    assert name.tolist() == ["map", "prediction", "", "map"]


def test_rejects_what_is_no_probability_vector() -> None:
    with pytest.raises(InputError, match="maps must hold probability"):
        faithfulness(2 * MAPS, CLASSES, K, BETA, SIGMA)
    with pytest.raises(InputError, match="probabilities must hold"):
        faithfulness(MAPS, CLASSES - 0.2, K, BETA, SIGMA)
    with pytest.raises(InputError, match="rows"):
        faithfulness(MAPS, CLASSES[:2], K, BETA, SIGMA)
    with pytest.raises(InputError, match="gamma"):
        faithfulness(MAPS, CLASSES, K, BETA, SIGMA, gamma=-1.0)

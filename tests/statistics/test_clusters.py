"""Images of one object are not independent: sign flips counted one by one, scipy where clusters are single, simulations."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from vitfaith.statistics import confidence_interval, friedman_nemenyi, paired_comparisons, paired_tests, summarise
from vitfaith.statistics.clusters import (
    cluster_codes,
    cluster_signed_rank,
    effective_size,
    small_sample_level,
)
from vitfaith.statistics.intervals import mean_intervals, resampled_means, wilson

OBJECTS, IMAGES, ICC = 15, 4, 0.6
CODES = np.repeat(np.arange(OBJECTS), IMAGES)
NAMES = [f"object-{c}" for c in CODES]


def clustered(rng: np.random.Generator, count: int) -> np.ndarray:
    """(count, 60) values of mean 0 and variance 1 with correlation .6 within an object."""
    shared = rng.normal(size=(count, OBJECTS)) * np.sqrt(ICC)
    return shared[:, CODES] + rng.normal(size=(count, len(CODES))) * np.sqrt(1 - ICC)


def within(hits: int, count: int, chance: float, errors: float = 4.0) -> bool:
    return abs(hits / count - chance) <= errors * np.sqrt(chance * (1 - chance) / count)


def test_codes() -> None:
    assert cluster_codes(None) is None
    assert cluster_codes(["a", "b", None]) is None
    assert cluster_codes([None, None]) is None
    assert cluster_codes(["b", None, "b", "a", None]).tolist() == [0, 2, 0, 1, 3]


def test_sign_flips_one_by_one() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        codes = np.unique(rng.integers(0, 6, 12), return_inverse=True)[1]
        d = np.round(rng.normal(0.4, 1, 12), 1)  # with ties and zeros
        kept = d != 0
        ranks = stats.rankdata(np.abs(d[kept]))
        sums = [float((np.sign(d[kept]) * ranks)[codes[kept] == c].sum()) for c in range(codes.max() + 1)]
        flips = [
            sum(s * r for s, r in zip(signs, sums, strict=True))
            for signs in itertools.product((1, -1), repeat=len(sums))
        ]
        expected = np.mean([abs(f) >= abs(sum(sums)) - 1e-9 for f in flips])
        statistic, p = cluster_signed_rank(d, codes)
        assert p == pytest.approx(expected)
        positive = ranks[d[kept] > 0].sum()
        assert statistic == pytest.approx(min(positive, ranks.sum() - positive))


def test_single_images_are_wilcoxons_exact_test() -> None:
    for seed in range(5):
        d = np.random.default_rng(seed).normal(0.3, 1, 30)
        expected = stats.wilcoxon(d, method="exact")
        assert cluster_signed_rank(d, np.arange(30)) == pytest.approx((expected.statistic, expected.pvalue))
    many = np.random.default_rng(1).normal(0.1, 1, 400)
    expected = stats.wilcoxon(many, method="asymptotic", correction=False)
    assert cluster_signed_rank(many, np.arange(400))[1] == pytest.approx(expected.pvalue)


def test_false_stars_are_at_the_level() -> None:
    values = clustered(np.random.default_rng(7), 400)
    naive = sum(stats.wilcoxon(v).pvalue < 0.05 for v in values)
    ours = sum(cluster_signed_rank(v, CODES)[1] < 0.05 for v in values)
    assert naive > 0.15 * 400, "the fault that clusters are for"
    assert within(ours, 400, 0.05)


@pytest.mark.parametrize("method", ["bca", "percentile", "t"])
def test_intervals_cover(method: str) -> None:
    values = clustered(np.random.default_rng(8), 600).T
    settings = {"confidence": 0.95, "method": method, "resamples": 1000, "seed": 0}
    _, low, high = mean_intervals(values, **settings)  # type: ignore[arg-type]
    assert ((low <= 0) & (high >= 0)).mean() < 0.85, "the fault that clusters are for"
    _, low, high = mean_intervals(values, **settings, codes=CODES)  # type: ignore[arg-type]
    assert within(int(((low <= 0) & (high >= 0)).sum()), 600, 0.95)


def test_whole_clusters_are_resampled() -> None:
    values = clustered(np.random.default_rng(3), 1).T
    uneven = np.repeat(np.arange(4), [30, 20, 9, 1])
    drawn = resampled_means(values, 50, 0, uneven)[:, 0]
    source = np.random.default_rng([0, 4, 50])
    for mean, picks in zip(drawn, source.integers(0, 4, (50, 4)), strict=True):
        rows = np.concatenate([values[uneven == c, 0] for c in picks])
        assert mean == pytest.approx(rows.mean())


def test_level_by_hand() -> None:
    quantile = stats.t.ppf(0.975, 14) * np.sqrt(15 / 14)
    assert small_sample_level(0.95, 15) == pytest.approx(2 * stats.norm.cdf(quantile) - 1)
    assert small_sample_level(0.95, 100_000) == pytest.approx(0.95, abs=1e-4)


def test_without_shared_clusters_everything_is_bitwise_the_same() -> None:
    rng = np.random.default_rng(1)
    scores = pd.DataFrame(
        {
            "method": np.repeat(["a", "b"], 20),
            "image_id": [f"i{i:02}" for i in range(20)] * 2,
            "value": rng.normal(size=40),
            "metric": "k",
        }
    )
    alone = scores.assign(cluster=scores.image_id)
    pd.testing.assert_frame_equal(summarise(scores, ["method"]), summarise(alone, ["method"]), check_exact=True)
    pd.testing.assert_frame_equal(
        paired_comparisons(scores, ["metric"]), paired_comparisons(alone, ["metric"]), check_exact=True
    )
    assert confidence_interval(scores.value) == confidence_interval(scores.value, clusters=list(range(40)))


def test_clusters_reach_summary_tests_and_ranks() -> None:
    values = clustered(np.random.default_rng(5), 2) + np.array([[0.3], [0.0]])
    ids = [f"i{i:02}" for i in range(60)]
    table = pd.DataFrame(values, index=["a", "b"], columns=ids)
    scores = table.rename_axis("method").reset_index().melt("method", var_name="image_id").assign(metric="k")
    scores["cluster"] = scores.image_id.map(dict(zip(ids, NAMES, strict=True)))
    row = summarise(scores, ["method"]).iloc[0]
    assert (row["mean"], row.low, row.high) == pytest.approx(confidence_interval(values[0], clusters=NAMES))
    plain = summarise(scores.drop(columns="cluster"), ["method"]).iloc[0]
    assert (row.n, row.clusters, plain.clusters) == (len(ids), OBJECTS, len(ids))
    assert row.high - row.low > 1.3 * (plain.high - plain.low)
    test = paired_comparisons(scores, ["metric"]).iloc[0]
    assert test.p == cluster_signed_rank(values[0] - values[1], CODES)[1]
    assert test.p > paired_tests(table).p[0]
    ranks = friedman_nemenyi(table, clusters=dict(zip(ids, NAMES, strict=True)))
    means = pd.DataFrame(values.reshape(2, OBJECTS, IMAGES).mean(2), index=["a", "b"])
    assert (ranks.n, ranks.unit) == (OBJECTS, "clusters")
    assert ranks.p == friedman_nemenyi(means).p


def test_effective_size_and_wilson() -> None:
    values = clustered(np.random.default_rng(2), 300)
    sizes = [effective_size(v, CODES) for v in values]
    assert np.median(sizes) == pytest.approx(60 / (1 + 3 * ICC), rel=0.1)
    assert effective_size(np.ones(60), CODES) == OBJECTS
    assert effective_size(values[0], None) == 60
    assert wilson(30, 60, 0.95) == wilson(30, 60, 0.95, 60.0)
    assert wilson(60, 120, 0.95, 60.0) == wilson(30, 60, 0.95)

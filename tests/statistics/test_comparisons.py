"""Paired tests, ranks and agreement against scipy, statsmodels, autorank and by hand."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys
from typing import cast

import numpy as np
import pandas as pd
import pytest
from autorank import autorank
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from vitfaith.errors import InputError
from vitfaith.statistics import (
    confidence_interval,
    friedman_nemenyi,
    metric_agreement,
    paired_comparisons,
    paired_tests,
)
from vitfaith.statistics.agreement import correlation_of_row, correlations
from vitfaith.statistics.paired import holm


def table(methods: int = 4, images: int = 25, seed: int = 0, step: float = 0.4) -> pd.DataFrame:
    values = np.random.default_rng(seed).normal(size=(methods, images)) + step * np.arange(methods)[:, None]
    return pd.DataFrame(values, index=[f"m{i}" for i in range(methods)], columns=[f"i{i:02}" for i in range(images)])


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_equals_statsmodels(p: list[float]) -> None:
    np.testing.assert_allclose(holm(p), multipletests(p, method="holm")[1], atol=1e-15)


def test_holm_by_hand_and_with_a_missing_test() -> None:
    np.testing.assert_allclose(holm([0.01, math.nan, 0.04, 0.03]), [0.03, math.nan, 0.06, 0.06])


def test_paired_tests_equal_scipy_pair_by_pair() -> None:
    values = table()
    values.iloc[0, 3] = math.nan
    result = paired_tests(values, resamples=200)
    assert list(zip(result.method, result.opponent, strict=True)) == list(itertools.combinations(values.index, 2))
    for row in result.itertuples():
        x, y = values.loc[row.method], values.loc[row.opponent]
        kept = (x.notna() & y.notna()).to_numpy()
        expected = stats.wilcoxon(x[kept], y[kept])
        assert (row.statistic, row.p) == pytest.approx((expected.statistic, expected.pvalue))
        assert row.n == kept.sum() == (24 if row.method == "m0" else 25)
        interval = confidence_interval((x - y)[kept], resamples=200)
        assert (row.difference, row.low, row.high) == pytest.approx(interval)
    np.testing.assert_allclose(result.p_adjusted, multipletests(result.p, method="holm")[1])


def test_signed_rank_statistic_by_hand() -> None:
    # differences 1, −2, 3: ranks 1, 2, 3; W⁻ = 2; P(min(W⁺, W⁻) ≤ 2) = 6 of the 8 sign patterns
    result = paired_tests(pd.DataFrame([[1.0, 0.0, 3.0], [0.0, 2.0, 0.0]], index=["a", "b"]))
    assert result.statistic[0] == 2
    assert result.p[0] == pytest.approx(0.75)


def test_equal_and_empty_pairs_have_a_row() -> None:
    values = pd.DataFrame([[1.0, 2.0], [1.0, 2.0], [math.nan, math.nan]], index=["a", "b", "c"])
    result = paired_tests(values)
    assert result.n.tolist() == [2, 0, 0]
    assert (result.p[0], result.difference[0]) == (1.0, 0.0)
    assert result.p[1:].isna().all()
    assert result.p_adjusted.tolist()[0] == 1.0


def test_comparisons_within_groups_both_ways() -> None:
    parts = [
        table(3, 12, seed=s)
        .rename_axis("method")
        .reset_index()
        .melt("method", var_name="image_id")
        .assign(metric=f"k{s}")
        for s in range(2)
    ]
    scores = pd.concat(parts).sample(frac=1, random_state=0)
    result = paired_comparisons(scores, ["metric"], resamples=200)
    assert list(result.columns[:3]) == ["metric", "method", "opponent"]
    assert len(result) == 2 * 3 * 2
    for seed in range(2):
        expected = paired_tests(table(3, 12, seed=seed), resamples=200).set_index(["method", "opponent"])
        part = result[result.metric == f"k{seed}"].set_index(["method", "opponent"])
        pd.testing.assert_frame_equal(part.loc[expected.index, expected.columns], expected)
        for pair, row in expected.iterrows():
            a, b = cast(tuple[str, str], pair)
            mirror = part.loc[(b, a)]
            assert (mirror.difference, mirror.low, mirror.high) == (-row.difference, -row.high, -row.low)
            assert mirror.p_adjusted == row.p_adjusted


def test_comparisons_refuse_two_values_for_one_image() -> None:
    scores = pd.DataFrame({"metric": "k", "method": "a", "image_id": ["x", "x"], "value": [1.0, 2.0]})
    with pytest.raises(InputError, match="method 'a' and image 'x'"):
        paired_comparisons(scores, ["metric"])


@pytest.mark.parametrize("methods", [2, 3, 6])
@pytest.mark.parametrize("ties", [False, True])
def test_friedmans_statistic_equals_conovers_formula(methods: int, ties: bool) -> None:
    values = table(methods, 30)
    values = values.round() if ties else values
    result = friedman_nemenyi(values)
    ranks = np.array([stats.rankdata(column) for column in values.to_numpy().T])
    between = sum((30 * (mean - (methods + 1) / 2)) ** 2 for mean in ranks.mean(axis=0))
    within = sum((rank - (methods + 1) / 2) ** 2 for row in ranks for rank in row)
    assert result.statistic == pytest.approx((methods - 1) * between / within)
    assert result.p == pytest.approx(stats.chi2.sf(result.statistic, methods - 1))


@pytest.mark.parametrize("ties", [False, True])
def test_ranks_equal_scipys_friedman_test(ties: bool) -> None:
    values = table(5, 20)
    values = values.round() if ties else values
    result = friedman_nemenyi(values)
    expected = stats.friedmanchisquare(*values.to_numpy())
    assert (result.statistic, result.p) == pytest.approx((expected.statistic, expected.pvalue))
    loops = dict.fromkeys(values.index, 0.0)
    for image in values.columns:
        for m in values.index:
            better = (values[image] > values.loc[m, image]).sum()
            equal = (values[image] == values.loc[m, image]).sum()
            loops[m] += (better + (equal + 1) / 2) / 20
    assert result.ranks.to_dict() == pytest.approx(loops)
    assert result.ranks.is_monotonic_increasing


@pytest.mark.parametrize(("k", "q"), [(2, 1.960), (3, 2.343), (4, 2.569), (5, 2.728), (10, 3.164)])
def test_critical_difference_equals_demsars_table(k: int, q: float) -> None:
    result = friedman_nemenyi(table(k, 30))
    assert result.critical_difference == pytest.approx(q * math.sqrt(k * (k + 1) / (6 * 30)), rel=5e-4)


def test_ranks_equal_autorank() -> None:
    values = table(5, 20)
    theirs = autorank(values.T, alpha=0.05, force_mode="nonparametric", order="descending")
    ours = friedman_nemenyi(values)
    assert ours.critical_difference == pytest.approx(theirs.cd, rel=1e-3)
    assert ours.p == pytest.approx(theirs.pvalue)
    assert ours.ranks.to_dict() == pytest.approx(theirs.rankdf.meanrank.to_dict())


def test_ranks_turn_round_with_the_direction_and_count_dropped_images() -> None:
    values = table(3, 10)
    values.iloc[1, 4] = math.nan
    up, down = friedman_nemenyi(values), friedman_nemenyi(-values, direction="lower")
    pd.testing.assert_series_equal(up.ranks, down.ranks)
    assert (up.n, up.dropped) == (9, 1)


def test_groups_hold_methods_that_are_not_told_apart() -> None:
    clear = friedman_nemenyi(table(3, 60, step=50))
    assert clear.groups() == []
    assert clear.ranks.tolist() == [1, 2, 3]
    assert friedman_nemenyi(table(3, 10, step=0)).groups() == [
        tuple(friedman_nemenyi(table(3, 10, step=0)).ranks.index)
    ]


def test_ranks_with_all_methods_tied_say_nothing() -> None:
    result = friedman_nemenyi(pd.DataFrame(np.ones((3, 4))))
    assert (result.statistic, result.p) == (0.0, 1.0)
    result = friedman_nemenyi(pd.DataFrame(np.ones((2, 4))))
    assert (result.statistic, result.p) == (0.0, 1.0)
    with pytest.raises(InputError, match="two methods"):
        friedman_nemenyi(pd.DataFrame(np.ones((1, 4))))


def agreement_scores() -> pd.DataFrame:
    rng = np.random.default_rng(7)
    a = rng.normal(size=(5, 8))
    grids = {"a": a, "b": -a + 0.5 * rng.normal(size=(5, 8)), "c": rng.normal(size=(5, 8))}
    rows = [
        {"method": f"m{m}", "image_id": f"i{i}", "metric": name, "value": grid[m, i]}
        for name, grid in grids.items()
        for m in range(5)
        for i in range(8)
    ]
    return pd.DataFrame(rows)


def test_agreement_equals_explicit_loops() -> None:
    scores = agreement_scores()
    scores.loc[(scores.metric == "c") & (scores.method == "m0") & (scores.image_id == "i0"), "value"] = math.nan
    result = metric_agreement(scores, {"b": "lower"}, coverage=0.8).set_index(["metric", "other", "level"])
    wide = scores.pivot(index=["method", "image_id"], columns="metric", values="value")
    wide["b"] *= -1
    for x, y in [("a", "b"), ("a", "c"), ("b", "c")]:
        kept = wide[[x, y]].unstack("method").dropna().stack("method", future_stack=True)  # the images of all methods
        means = kept.groupby("method").mean()
        assert result.loc[(x, y, "methods"), "kendall"] == pytest.approx(stats.kendalltau(means[x], means[y]).statistic)
        assert result.loc[(x, y, "methods"), "spearman"] == pytest.approx(stats.spearmanr(means[x], means[y]).statistic)
        for level, key in [("images", "method"), ("methods_per_image", "image_id")]:
            parts = [part for _, part in kept.groupby(key)]
            tau = np.mean([stats.kendalltau(p[x], p[y]).statistic for p in parts])
            rho = np.mean([stats.spearmanr(p[x], p[y]).statistic for p in parts])
            assert tuple(result.loc[(x, y, level), ["kendall", "spearman", "n"]]) == pytest.approx(
                (tau, rho, len(parts))
            )
    assert result.loc[("a", "b", "methods_per_image"), "kendall"] > 0.5


def test_agreement_without_variation_is_missing_not_zero() -> None:
    scores = agreement_scores()
    scores.loc[scores.metric == "c", "value"] = 1.0
    result = metric_agreement(scores)
    assert result[result.other == "c"].kendall.isna().all()
    assert (result[result.other == "c"].n == 0).all()


def test_agreement_refuses_mixed_conditions() -> None:
    with pytest.raises(InputError, match="one condition"):
        metric_agreement(pd.concat([agreement_scores()] * 2))


def test_importing_statistics_does_not_import_torch() -> None:
    code = "import sys, vitfaith.statistics; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_two_points_correlate_fully() -> None:
    nan = np.nan
    x = np.array([[0.0, 1.0, nan], [0.0, 1.0, nan], [0.0, nan, 1.0], [nan, nan, 1.0]])
    y = np.array([[3.0, 5.0, 1.0], [5.0, 3.0, 1.0], [5.0, 1.0, 5.0], [5.0, 1.0, 5.0]])
    assert correlations(x, y) == pytest.approx(np.array([[1, 1], [-1, -1], [nan, nan], [nan, nan]]), nan_ok=True)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 9), st.integers(0, 2**31 - 1))
def test_short_rows_all_at_once_equal_scipy_row_by_row(length: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    x, y = generator.integers(0, 4, (2, 20, length)).astype(float)
    x[generator.random(x.shape) < 0.2] = np.nan
    expected = np.array([correlation_of_row(a, b) for a, b in zip(x, y, strict=True)])
    np.testing.assert_allclose(correlations(x, y), expected, atol=1e-12)

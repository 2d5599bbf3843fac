"""Intervals of the mean against scipy, by hand, and by coverage."""

from __future__ import annotations

import math
import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from vitfaith.artifacts.schemas import SUMMARY
from vitfaith.errors import InputError
from vitfaith.statistics import confidence_interval, summarise
from vitfaith.statistics.intervals import bootstrap_bounds, resampled_means


@pytest.mark.parametrize("n", [3, 17, 60])
@pytest.mark.parametrize("method", ["bca", "percentile"])
def test_bounds_equal_scipys_on_the_same_resamples(n: int, method: str) -> None:
    values = np.random.default_rng(n).exponential(size=n)
    centred = values - values.mean()
    theirs = stats.bootstrap((centred,), np.mean, method=method, n_resamples=999, rng=np.random.default_rng(0))
    means = theirs.bootstrap_distribution[:, None]
    low, high = bootstrap_bounds(means, centred[:, None], 0.95, corrected=method == "bca")
    assert low[0] == pytest.approx(theirs.confidence_interval.low, abs=1e-12)
    assert high[0] == pytest.approx(theirs.confidence_interval.high, abs=1e-12)


def test_whole_interval_is_near_scipys_own_resamples() -> None:
    values = np.random.default_rng(1).exponential(size=40)
    mean, low, high = confidence_interval(values, resamples=100_000)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=100_000, rng=np.random.default_rng(5)).confidence_interval
    assert mean == pytest.approx(values.mean())
    assert (low, high) == pytest.approx((theirs.low, theirs.high), abs=0.02)


def test_student_interval_equals_scipys() -> None:
    values = np.random.default_rng(2).normal(size=9)
    expected = stats.t.interval(0.9, 8, values.mean(), stats.sem(values))
    assert confidence_interval(values, confidence=0.9, method="t")[1:] == pytest.approx(expected)


def test_resampled_means_have_the_bootstraps_moments() -> None:
    values = np.random.default_rng(3).normal(size=(12, 1))
    means = resampled_means(values, 40_000, 0)[:, 0]
    assert means.mean() == pytest.approx(values.mean(), abs=0.01)
    assert means.std() == pytest.approx(values.std() / math.sqrt(12), rel=0.02)


def test_percentiles_by_hand_for_two_values() -> None:
    # four equally likely resamples of (0, 1): means 0, ½, ½, 1
    assert confidence_interval([0.0, 1.0], confidence=0.9, method="percentile") == (0.5, 0.0, 1.0)
    assert confidence_interval([0.0, 1.0], confidence=0.2, method="percentile") == (0.5, 0.5, 0.5)


@pytest.mark.parametrize("method", ["bca", "percentile", "t"])
def test_small_and_constant_samples(method: str) -> None:
    assert all(math.isnan(x) for x in confidence_interval([], method=method))  # type: ignore[arg-type]
    mean, low, high = confidence_interval([0.3], method=method)  # type: ignore[arg-type]
    assert mean == 0.3
    assert math.isnan(low)
    assert math.isnan(high)
    assert confidence_interval([0.1] * 7, method=method) == (0.1, 0.1, 0.1)  # type: ignore[arg-type]


@pytest.mark.parametrize("method", ["bca", "percentile", "t"])
def test_coverage_is_near_the_level(method: str) -> None:
    draws = np.random.default_rng(4).gamma(2.0, size=(400, 40))
    hits = 0
    for values in draws:
        _, low, high = confidence_interval(values, method=method, resamples=400, confidence=0.9)  # type: ignore[arg-type]
        hits += low <= 2.0 <= high
    assert 0.83 <= hits / len(draws) <= 0.95


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 1000),
    scale=st.floats(1e-3, 1e3),
    shift=st.floats(-10, 10),
    n=st.integers(2, 30),
    ties=st.booleans(),
)
def test_interval_moves_with_the_values(seed: int, scale: float, shift: float, n: int, ties: bool) -> None:
    values = np.random.default_rng(seed).normal(size=n)
    values = (values > 0).astype(float) if ties else values
    mean, low, high = confidence_interval(values, resamples=200)
    moved = confidence_interval(values * scale + shift, resamples=200)
    assert low <= mean <= high
    assert moved == pytest.approx(
        (mean * scale + shift, low * scale + shift, high * scale + shift), abs=1e-9 * (1 + scale)
    )


def test_bad_arguments() -> None:
    with pytest.raises(InputError, match="NaN"):
        confidence_interval([1.0, math.nan])
    with pytest.raises(InputError, match="confidence"):
        confidence_interval([1.0, 2.0], confidence=95)
    with pytest.raises(InputError, match="method"):
        confidence_interval([1.0, 2.0], method="bc")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="resamples"):
        confidence_interval([1.0, 2.0], resamples=0)


def frame(methods: int = 3, images: int = 20, seed: int = 0) -> pd.DataFrame:
    values = np.random.default_rng(seed).normal(size=(methods, images))
    rows = [
        {"method": f"m{m}", "image_id": f"i{i:03}", "value": values[m, i], "flag": ""}
        for m in range(methods)
        for i in range(images)
    ]
    return pd.DataFrame(rows)


def test_summary_has_the_columns_of_the_schema_and_counts_flags() -> None:
    scores = frame()
    scores.loc[[0, 5], ["value", "flag"]] = [math.nan, "constant"]  # type: ignore[assignment]
    scores.loc[scores.method == "m2", "value"] = math.nan
    summary = summarise(scores, ["method"], resamples=300)
    assert list(summary.columns) == ["method", *SUMMARY.names[SUMMARY.names.index("n") :]]
    assert summary.n.tolist() == [18, 20, 0]
    assert summary.flagged.tolist() == [2, 0, 20]
    for _, row in summary.iterrows():
        values = scores[(scores.method == row.method) & scores.value.notna()].value.to_numpy()
        mean, low, high = confidence_interval(values, resamples=300)
        assert [row["mean"], row.low, row.high] == pytest.approx([mean, low, high], nan_ok=True)
        sd = values.std(ddof=1) if len(values) else math.nan
        assert row.sd == pytest.approx(sd, nan_ok=True)
    assert (summary.confidence == 0.95).all()


def test_summary_depends_neither_on_row_order_nor_on_other_groups() -> None:
    scores = frame()
    expected = summarise(scores, ["method"])
    pd.testing.assert_frame_equal(summarise(scores.sample(frac=1, random_state=1), ["method"]), expected)
    alone = summarise(scores[scores.method == "m1"], ["method"])
    pd.testing.assert_frame_equal(alone, expected[expected.method == "m1"].reset_index(drop=True))


def test_summary_keeps_missing_and_categorical_keys() -> None:
    scores = frame().assign(reference=None)
    scores["method"] = pd.Categorical(scores.method, categories=["m2", "m1", "m0", "unused"])
    summary = summarise(scores, ["method", "reference"], resamples=100)
    assert summary.method.tolist() == ["m2", "m1", "m0"]
    assert summary.n.tolist() == [20, 20, 20]


def test_summary_of_nothing_is_an_empty_table() -> None:
    summary = summarise(frame().iloc[:0], ["method"])
    assert summary.empty
    assert "low" in summary.columns


def test_summary_names_a_missing_column() -> None:
    with pytest.raises(InputError, match="'metric'"):
        summarise(frame(), ["metric"])


def test_a_thousand_groups_take_seconds_not_minutes() -> None:
    images, groups = 300, 1500
    scores = pd.DataFrame(
        {
            "group": np.repeat(np.arange(groups), images),
            "image_id": np.tile(np.arange(images).astype(str), groups),
            "value": np.random.default_rng(0).normal(size=groups * images),
        }
    )
    begin = time.process_time()
    summarise(scores, ["group"])
    assert time.process_time() - begin < 30

"""Detectable differences: statsmodels' solver, a simulation of the test itself, and the command."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import integrate, stats
from statsmodels.stats.power import TTestPower
from typer.testing import CliRunner

from tests.compare.test_compare import write
from vitfaith.cli.main import app
from vitfaith.compare.power import power_table
from vitfaith.errors import ArtifactError, InputError
from vitfaith.statistics import small_sample_note
from vitfaith.statistics.clusters import cluster_signed_rank
from vitfaith.statistics.intervals import mean_intervals
from vitfaith.statistics.power import EFFICIENCY, detectable_difference, spread_of
from vitfaith.statistics.small import SMALL


@pytest.mark.parametrize("n", [6, 20, 48, 200])
@pytest.mark.parametrize("alpha", [0.05, 0.05 / 27])
def test_difference_equals_statsmodels(n: int, alpha: float) -> None:
    worth = n * EFFICIENCY
    difference = detectable_difference(0.3, n, alpha=alpha)
    if (n, alpha) == (6, 0.05 / 27):  # 2^-5 is no smaller
        assert difference == np.inf
        return
    expected = TTestPower().solve_power(nobs=worth, alpha=alpha, power=0.8)
    assert difference == pytest.approx(0.3 * expected, rel=1e-3)
    # P(Z + δ > c √(χ²/f)), integrated over χ²
    critical, shift = stats.t.ppf(1 - alpha / 2, worth - 1), difference / 0.3 * np.sqrt(worth)
    above = integrate.quad(
        lambda x: stats.chi2.pdf(x, worth - 1) * stats.norm.cdf(shift - critical * np.sqrt(x / (worth - 1))),
        0, 12 * worth + 60, limit=500, points=[worth],
    )[0]  # fmt: skip
    assert above == pytest.approx(0.8, abs=1e-4)


def test_wilcoxons_test_finds_that_difference_in_four_of_five() -> None:
    rng = np.random.default_rng(0)
    shift = detectable_difference(0.2, 30)
    found = sum(stats.wilcoxon(rng.normal(shift, 0.2, 30)).pvalue < 0.05 for _ in range(600))
    assert abs(found / 600 - 0.8) < 4 * np.sqrt(0.16 / 600)


@pytest.mark.parametrize("alpha", [0.05, 0.05 / 7, 0.05 / 27])
def test_a_difference_is_found_from_the_size_on_at_which_the_largest_one_is(alpha: float) -> None:
    """The p-value of differences of one sign is the smallest that the test has."""
    for n in range(3, 20):
        smallest = stats.wilcoxon(np.arange(1.0, n + 1)).pvalue
        assert np.isfinite(detectable_difference(0.2, n, alpha=alpha)) == (smallest < alpha)
        # 4 n images in n clusters have the signs of n
        flipped = cluster_signed_rank(np.arange(1.0, 4 * n + 1), np.repeat(np.arange(n), 4))[1]
        assert np.isfinite(detectable_difference(0.2, 4 * n, alpha=alpha, clusters=n)) == (flipped < alpha)


def test_spread_with_clusters_is_the_standard_error_of_clusters() -> None:
    d = np.random.default_rng(1).normal(size=40)
    assert spread_of(d) == d.std(ddof=1)
    assert spread_of(d, np.arange(40)) == pytest.approx(d.std(ddof=1))
    means = d.reshape(10, 4).mean(1)
    assert spread_of(d, np.repeat(np.arange(10), 4)) == pytest.approx(means.std(ddof=1) / np.sqrt(10) * np.sqrt(40))


def test_limits() -> None:
    assert detectable_difference(1.0, 2) == np.inf
    with pytest.raises(InputError, match="power"):
        detectable_difference(1.0, 20, power=1.5)


def test_command(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    values = {name: rng.normal(0, 0.2, 24) for name in ("random", "a", "b")}
    write(tmp_path, values)
    row = power_table(tmp_path, {}).iloc[0]
    sd = np.median([(values[m] - values["random"]).std(ddof=1) for m in "ab"])
    assert (row.measured, row.tests, row.n) == (24, 2, 24)
    assert row.alone == pytest.approx(detectable_difference(sd, 24))
    assert row.holm == pytest.approx(detectable_difference(sd, 24, alpha=0.025))
    done = CliRunner().invoke(app, ["power", str(tmp_path), "--n", "100", "--where", "metric=saco"])
    assert done.exit_code == 0, done.output
    assert f"| saco k=10 | {sd:.3g} | 24 | {row.alone:.3g} |" in done.output
    assert f"| 100 | {detectable_difference(sd, 100):.3g} |" in done.output
    done = CliRunner().invoke(app, ["power", str(tmp_path), "--n", "6", "--where", "metric=saco"])
    assert f"| 6 | {detectable_difference(sd, 6):.3g} | none | 2 |" in done.output
    with pytest.raises(ArtifactError, match="--baseline"):
        power_table(tmp_path, {}, baseline="lrp")


def test_the_note_on_few_images_stands_where_intervals_are_too_narrow() -> None:
    def coverage(n: int) -> float:
        values = np.random.default_rng(n).normal(size=(n, 1000))
        _, low, high = mean_intervals(values, confidence=0.95, method="bca", resamples=1000, seed=0)
        return float(((low <= 0) & (high >= 0)).mean())

    tolerance = 4 * np.sqrt(0.95 * 0.05 / 1000)
    assert coverage(6) < 0.9
    assert coverage(SMALL) > 0.93 - tolerance
    assert "n = 6 images" in small_sample_note(6)
    assert small_sample_note(SMALL) == small_sample_note(0) == ""

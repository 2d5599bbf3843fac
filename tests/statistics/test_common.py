"""Methods are compared on the images that all of them have: slow form, the faults that this prevents, and the line."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau

from vitfaith.errors import InputError
from vitfaith.order import natural
from vitfaith.statistics import (
    against,
    common_images,
    friedman_nemenyi,
    mark_common,
    metric_agreement,
    paired_comparisons,
    paired_tests,
    summarise,
    summarise_compared,
)
from vitfaith.statistics.paired import holm
from vitfaith.statistics.precision import RELATIVE, snapped
from vitfaith.tables.boards import boards_text
from vitfaith.tables.cells import leaderboard
from vitfaith.tables.collect import CONDITION, sort_rows

HERE = dict(zip(CONDITION, ("d", "m", "clean", "none", "clean_prediction"), strict=True))


def long(values: dict[str, np.ndarray], metric: str = "saco", variant: str = "k=10") -> pd.DataFrame:
    """Rows of scores from method → values."""
    return pd.concat(
        [
            pd.DataFrame({"method": m, "image_id": [f"i{i:03}" for i in range(len(v))], "value": v})
            for m, v in values.items()
        ],
        ignore_index=True,
    ).assign(metric=metric, variant=variant, reference="", **HERE)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31 - 1), st.integers(1, 6), st.integers(1, 12), st.sampled_from([0.0, 0.5, 0.75, 0.9, 1.0]))
def test_common_images_equal_the_definition(seed: int, methods: int, images: int, coverage: float) -> None:
    known = np.random.default_rng(seed).random((methods, images)) < 0.8
    found = common_images(known, coverage)
    counted = [n for n in range(images) if any(known[m, n] for m in range(methods))]
    above = [m for m in range(methods) if known[m].any() and known[m].sum() / max(1, len(counted)) >= coverage - 1e-9]
    both = [n for n in range(images) if above and all(known[m, n] for m in above)]
    assert np.flatnonzero(found.compared).tolist() == above
    assert np.flatnonzero(found.images).tolist() == both
    assert (found.asked, found.own.tolist()) == (len(counted), known.sum(1).tolist())
    value = np.where(known, 1.0, np.nan)
    marked = mark_common(long({f"m{m}": value[m] for m in range(methods)}), [*CONDITION, "metric"], coverage)
    assert marked.common.to_numpy().reshape(methods, images).tolist() == found.cells.tolist()
    assert marked.compared.to_numpy().reshape(methods, images)[:, 0].tolist() == found.compared.tolist()


def test_exact_share_is_enough_and_a_wrong_share_is_refused() -> None:
    known = np.ones((2, 10), bool)
    known[0, 0] = False
    assert common_images(known, 0.9).compared.all()
    assert not common_images(known, 0.91).compared[0]
    with pytest.raises(InputError, match="between 0 and 1"):
        common_images(known, 1.5)


def test_an_image_that_nobody_has_does_not_count() -> None:
    known = np.ones((2, 20), bool)
    known[:, :15] = False
    assert common_images(known).compared.all()
    assert common_images(known).asked == 5


def test_one_method_flagged_on_half_of_the_images_under_one_metric() -> None:
    rng = np.random.default_rng(3)
    ease, skill = rng.normal(0, 1, 20), np.array([0.0, 0.2, 0.4])
    grid = skill[:, None] + ease
    flagged = grid.copy()
    flagged[0, ease < np.median(ease)] = np.nan
    first = long({f"m{m}": row for m, row in enumerate(grid)}, "x")
    second = long({f"m{m}": row for m, row in enumerate(flagged)}, "y")
    own = second.groupby("method").value.mean()
    assert kendalltau(first.groupby("method").value.mean(), own).statistic == pytest.approx(-1 / 3)  # the fault
    for coverage, images, methods, left_out in ((0.0, 10, 3, ""), (0.9, 20, 2, "m0")):
        found = metric_agreement(pd.concat([first, second]), coverage=coverage).set_index("level").loc["methods"]
        assert (found.kendall, found.spearman) == pytest.approx((1, 1))
        assert (found.images, found.methods, found.left_out) == (images, methods, left_out)


@pytest.mark.parametrize("images", [1, 6])
@pytest.mark.parametrize("case", ["a metric without any value", "methods on disjoint images"])
def test_agreement_is_undefined_where_nothing_is_common(case: str, images: int) -> None:
    values = {name: np.random.default_rng(i).normal(size=images) for i, name in enumerate("abc")}
    other = {name: column.copy() for name, column in values.items()}
    for place, column in enumerate(other.values()):
        column[np.arange(images) % 3 != place if case == "methods on disjoint images" else slice(None)] = np.nan
    found = metric_agreement(pd.concat([long(values), long(other, metric="pointing_game", variant="")]))
    if case == "methods on disjoint images" and images == 1:  # one method has the only image
        assert (found["images"] == 1).all()
    else:
        assert (found[["images", "methods", "n"]] == 0).all(axis=None)
        assert (found["left_out"] == "a, b, c").all()
    assert found[["kendall", "spearman"]].isna().all(axis=None)


def board_of(values: dict[str, np.ndarray], coverage: float = 0.9) -> tuple[pd.DataFrame, pd.DataFrame, Any]:
    scores = long(values)
    summary = summarise_compared(scores, [*CONDITION, "method", "reference", "metric", "variant"], coverage=coverage)
    tests = paired_comparisons(scores, [*CONDITION, "metric", "variant"], coverage=coverage)
    return summary, tests, leaderboard(summary, {"saco": "higher"}, statistics=tests, coverage=coverage)


def test_the_better_method_flagged_on_easy_images_stays_first() -> None:
    ease = np.linspace(0, 1, 40)
    better, worse = ease + 0.1, ease.copy()
    better[-3:] = np.nan  # 37 of 40 images are enough
    assert np.nanmean(better) < worse.mean() + 0.07
    better[-3:] = np.nan
    worse = worse + 0.065
    assert np.nanmean(better) < worse.mean(), "over own images the order is wrong"
    summary, _, board = board_of({"better": better, "worse": worse, "random": np.zeros(40)})
    assert board.methods == ("better", "worse", "random")
    assert [board.cells[i, 0].best for i in range(3)] == [True, False, False]
    assert set(summary.n) == {37}
    assert summary.set_index("method").loc["worse", "mean_own"] == pytest.approx(worse.mean())
    text = boards_text(summary, board_of({"random": better, "worse": worse})[1], {"saco": "higher"}, "markdown")
    assert f"n=37; own images {worse.mean():.3f}, n=40" in text


def test_one_image_is_never_bold_over_fifty() -> None:
    rng = np.random.default_rng(0)
    lucky = np.full(50, np.nan)
    lucky[7] = 9.0
    values = {"lucky": lucky, "rollout": rng.normal(0.3, 0.1, 50), "random": rng.normal(0, 0.1, 50)}
    summary, tests, board = board_of(values)
    assert board.methods == ("rollout", "random", "lucky")
    assert board.above == 2
    assert [board.cells[i, 0].best for i in range(3)] == [True, False, False]
    assert board.cells[2, 0].mark == ""
    assert tests[(tests.method == "lucky") | (tests.opponent == "lucky")].p.isna().all()
    assert np.isnan(summary.set_index("method").loc["lucky", "mean"])
    assert summary.set_index("method").loc["lucky", "mean_own"] == 9
    for form, line in (("markdown", "| *not compared: fewer than 90 % of the images* |"), ("latex", r"\midrule")):
        text = boards_text(summary, tests, {"saco": "higher"}, form)
        body = text.split("random" if form == "csv" else "Random", 1)[1]
        assert line in body.split("Lucky", 1)[0]
        assert "Lucky by SaCo (k=10) (1 of 50)" in text
    assert board_of(values, coverage=0.0)[0].n.tolist() == [1, 1, 1]


def test_without_flags_numbers_are_those_of_the_own_images_bit_by_bit() -> None:
    rng = np.random.default_rng(5)
    scores = long({f"m{m}": rng.normal(size=30) for m in range(3)})
    by = [*CONDITION, "method"]
    pd.testing.assert_frame_equal(
        summarise_compared(scores, by)[[*by, "n", "mean", "low", "high", "sd"]],
        summarise(scores, by)[[*by, "n", "mean", "low", "high", "sd"]],
        check_exact=True,
    )


def test_steps_of_a_curve_share_their_images() -> None:
    rows = long({"a": np.arange(20.0), "b": np.arange(20.0)})
    curves = pd.concat([rows.assign(step=s) for s in range(3)], ignore_index=True)
    curves.loc[(curves.step == 2) & (curves.method == "a") & (curves.image_id == "i019"), "value"] = np.nan
    found = summarise_compared(curves, ["method", "step"], within=["metric"])
    assert set(found.n) == {19}
    assert set(found[found.method == "b"].n_own) == {20}


def test_ranks_leave_a_method_with_few_images_out_and_keep_the_images() -> None:
    rng = np.random.default_rng(1)
    table = pd.DataFrame(rng.normal(size=(3, 40)), index=list("abc"))
    table.loc["b", 5:] = np.nan
    found = friedman_nemenyi(table)
    pd.testing.assert_series_equal(found.ranks, friedman_nemenyi(table.loc[["a", "c"]]).ranks)
    assert (found.n, dict(found.below)) == (40, {"b": 5})
    assert friedman_nemenyi(table, coverage=0).n == 5


def test_holm_over_the_tests_against_one_method() -> None:
    rng = np.random.default_rng(2)
    scores = long({name: rng.normal(0.3 * i, 1, 30) for i, name in enumerate(("random", "a", "b", "c"))})
    tests = paired_comparisons(scores, ["metric"])
    shown = against(tests, "random", ["metric"]).set_index("method")
    assert len(shown) == 3
    np.testing.assert_array_equal(shown.p_adjusted, holm(shown.p))
    pairs = tests[tests.opponent == "random"].set_index("method").p_adjusted
    assert (shown.p_adjusted <= pairs.loc[shown.index]).all()
    assert (shown.p_adjusted < pairs.loc[shown.index]).any()


@pytest.mark.parametrize("shift", [1e-12, 1e-9, 3e-8])
def test_differences_below_the_precision_are_zero(shift: float) -> None:
    base = np.random.default_rng(0).normal(0.4, 0.2, 25)
    base[3] = 0.0
    tests = paired_tests(pd.DataFrame([base + shift, base], index=["a", "b"]))
    assert (tests.p[0], tests.difference[0]) == (1.0, 0.0)
    ranks = friedman_nemenyi(pd.DataFrame([base + shift, base], index=["a", "b"]))
    assert ranks.ranks.tolist() == [1.5, 1.5]
    _, _, board = board_of({"a": base + shift, "b": base})
    assert [board.cells[i, 0].best for i in range(2)] == [True, True]


def test_differences_above_the_precision_stay_bit_by_bit() -> None:
    values = np.random.default_rng(0).normal(0.4, 0.2, (4, 50))
    np.testing.assert_array_equal(snapped(values), values)
    assert paired_tests(pd.DataFrame([values[0] + 1e-5, values[0]])).p[0] < 1e-4
    held = snapped(np.array([[1.0, np.nan], [1.0 + RELATIVE / 2, np.inf], [1.1, -np.inf]]))
    np.testing.assert_array_equal(held, [[1.0, np.nan], [1.0, np.inf], [1.1, -np.inf]])


def test_variants_are_in_the_order_of_their_numbers() -> None:
    names = ["k=10", "k=5", "k=0.1", "k=0.05", "k=1e-05", "k=-1", ""]
    assert sorted(names, key=natural) == ["", "k=-1", "k=1e-05", "k=0.05", "k=0.1", "k=5", "k=10"]
    frame = pd.DataFrame({"metric": "x", "variant": names})
    assert sort_rows(frame, ["metric", "variant"]).variant.tolist() == sorted(names, key=natural)
    scores = pd.concat([long({"a": np.arange(20.0), "b": np.arange(20.0)}, variant=v) for v in ("k=0.1", "k=0.05")])
    board = leaderboard(summarise_compared(scores, ["method", "metric", "variant"]), {"saco": "higher"})
    assert [v for _, v in board.columns] == ["k=0.05", "k=0.1"]


def test_planning_does_not_import_pandas() -> None:
    code = "import sys, vitfaith.registries, vitfaith.study.load; sys.exit('pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0

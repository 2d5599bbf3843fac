"""Two conditions side by side: differences paired by image, by hand, both ways round, and only along one axis."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import wilcoxon

from vitfaith.statistics import confidence_interval
from vitfaith.statistics.paired import holm
from vitfaith.tables.collect import CONDITION
from vitfaith.tables.conditions import COLUMNS, KEYS, ConditionPairs, differing
from vitfaith.tables.vectors import Vectors

SETTINGS = {"confidence": 0.9, "resamples": 300, "seed": 5}
DRAW = np.random.default_rng(0)
SCORES = {
    (attack, smoothing): {m: DRAW.normal(shift, 1, 30) for m in ("a", "b")}
    for shift, (attack, smoothing) in enumerate([("clean", "none"), ("pgd", "none"), ("pgd", "dds")])
}
SCORES["pgd", "none"]["b"][:5] = np.nan


def place(attack: str, smoothing: str, model: str = "m") -> dict[str, str]:
    return dict(zip(CONDITION, ("d", model, attack, smoothing, "clean_prediction"), strict=True))


def table(coverage: float = 0.8) -> pd.DataFrame:
    pairs = ConditionPairs(Vectors())
    for key, values in SCORES.items():
        pairs.add(place(*key), {("", "saco", "k=10", method): vector for method, vector in values.items()})
    return pairs.table(coverage, **SETTINGS)


def test_numbers_are_those_of_each_pair_alone() -> None:
    found = table()
    assert list(found) == COLUMNS
    assert not found.duplicated(KEYS).any()
    rows = found[(found.attack == "clean") & (found.axis == "attack") & (found.other == "pgd")]
    assert rows.method.tolist() == ["a", "b"]
    p = []
    for row in rows.itertuples():
        difference = SCORES["clean", "none"][row.method] - SCORES["pgd", "none"][row.method]
        difference = difference[np.isfinite(difference)]
        assert row.n == len(difference) == {"a": 30, "b": 25}[row.method]
        assert (row.difference, row.low, row.high) == pytest.approx(confidence_interval(difference, **SETTINGS))
        p.append(wilcoxon(difference).pvalue)
    assert rows.p.tolist() == pytest.approx(p)
    assert rows.p_adjusted.tolist() == pytest.approx(holm(p))


def test_swapping_the_conditions_changes_the_sign() -> None:
    found = table().set_index(["attack", "smoothing", "axis", "other", "method"])
    one, back = found.loc["pgd", "none", "smoothing", "dds"], found.loc["pgd", "dds", "smoothing", "none"]
    np.testing.assert_allclose(one.difference, -back.difference)
    np.testing.assert_allclose(one.low, -back.high)
    np.testing.assert_allclose(one.p_adjusted, back.p_adjusted)


def test_conditions_that_differ_twice_are_not_compared() -> None:
    found = table()
    assert set(zip(found.attack, found.smoothing, found.axis, found.other, strict=True)) == {
        ("clean", "none", "attack", "pgd"),
        ("pgd", "none", "attack", "clean"),
        ("pgd", "none", "smoothing", "dds"),
        ("pgd", "dds", "smoothing", "none"),
    }
    assert differing(place("clean", "none"), place("clean", "none", "other")) == "model"
    assert differing(place("clean", "none"), place("clean", "none") | {"dataset": "e"}) == ""
    assert differing(place("clean", "none"), place("clean", "none")) == ""


def test_too_few_images_are_not_compared() -> None:
    found = table(coverage=0.9)
    below = found[(found.axis == "attack") & (found.method == "b")]
    assert set(below.n) == {0}
    assert below[["difference", "low", "high", "p", "p_adjusted"]].isna().all(axis=None)


def test_blocks_change_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = table()
    monkeypatch.setattr("vitfaith.tables.conditions.ENTRIES", 1)
    pd.testing.assert_frame_equal(table(), whole)


def test_a_single_condition_has_no_pairs() -> None:
    pairs = ConditionPairs(Vectors())
    pairs.add(place("clean", "none"), {("", "saco", "", "a"): np.zeros(3)})
    assert list(pairs.table(0.9, **SETTINGS)) == COLUMNS
    assert pairs.table(0.9, **SETTINGS).empty

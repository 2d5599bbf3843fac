"""The pages on natural images: counts, places and losses follow the tables."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import stamps_findings as stamps

NAN = float("nan")


def precisions(values: dict[str, dict[str, list[float]]]) -> pd.DataFrame:
    """Scores of localisation without smoothing: method → attack → one value per image."""
    rows = [
        (method, f"image-{place}", attack, "localisation_ap", "none", value)
        for method, attacks in values.items()
        for attack, found in attacks.items()
        for place, value in enumerate(found)
    ]
    return pd.DataFrame(rows, columns=["method", "image_id", "attack", "metric", "smoothing", "value"])


def board(saco: dict[str, tuple[float, float, float]], precision: dict[str, float]) -> pd.DataFrame:
    rows = [(m, "saco", "k=10", *values) for m, values in saco.items()]
    rows += [(m, "localisation_ap", "", value, value, value) for m, value in precision.items()]
    names = ["method", "metric", "variant", "mean", "low", "high"]
    return pd.DataFrame(rows, columns=names).assign(reference="")


def test_leaderboards_name_the_first_and_what_is_open() -> None:
    saco = {"a": (0.9, 0.8, 0.95), "b": (0.7, 0.6, 0.85), "c": (-0.5, -0.6, -0.4), "random": (0.0, -0.1, 0.1)}
    precision = {"a": 0.5, "b": 0.9, "c": 0.1, "random": 0.2}
    text = stamps.board_found(board(saco, precision))
    assert "2 of 3 explainers above random maps and 1 of 3 below" in text
    assert "`a` is highest with 0.90 [0.80, 0.95]; 1 other interval meets" in text
    assert "agree in part: the rank correlation of SaCo with scores of localisation is 0.50" in text
    assert "`a` has place 2 of 3" in text
    alone = stamps.board_found(board({**saco, "b": (0.7, 0.6, 0.75)}, {**precision, "b": 0.4}))
    assert "no other interval meets this one" in alone
    assert "agree closely" in alone


def test_natural_images_under_attack(tmp_path: Path) -> None:
    right = {("none", "clean"): 8, ("none", "pgd"): 2, ("dds", "clean"): 7, ("dds", "pgd"): 6}
    predictions = pd.DataFrame(
        [(s, a, int(i < hits), 1) for (s, a), hits in right.items() for i in range(10)],
        columns=["smoothing", "attack", "prediction", "label"],
    )
    high = {("a", "none"): -0.1, ("b", "none"): -0.2, ("a", "dds"): 0.1, ("b", "dds"): -0.1}
    rows = [(m, "saco", "pgd", s, 0.0, value) for (m, s), value in high.items()]
    rows.append(("random", "saco", "pgd", "none", 0.0, -0.5))
    summary = pd.DataFrame(rows, columns=["method", "metric", "attack", "smoothing", "mean", "high"])
    place = tmp_path / "tables" / "experiment=robustness"
    place.mkdir(parents=True)
    predictions.to_parquet(place / "predictions.parquet")
    summary.assign(reference="").to_parquet(place / "summary.parquet")
    values = {"a": {"clean": [0.7, 0.7], "pgd": [0.64, 0.64]}, "random": {"clean": [0.9, 0.9], "pgd": [0.1, 0.1]}}
    precisions(values).to_parquet(place / "scores.parquet")
    assert stamps.robustness_found(tmp_path) == (
        "The attack `pgd` lowers accuracy from 0.80 to 0.20 without smoothing and from 0.70 to 0.60 behind `dds`. Under it the SaCo of "
        "all 2 explainers is below 0 without smoothing, and of 1 of 2 behind `dds`; average precision without smoothing falls by at most 0.06."
    )


@pytest.mark.parametrize(("precision", "stays"), [(0.55, True), (0.2, False)])
def test_below_zero_says_that_maps_stay_only_where_they_do(precision: float, stays: bool) -> None:
    rows = [("a", "saco", "pgd", -0.5, -0.4), ("b", "saco", "pgd", 0.1, 0.2), ("random", "saco", "pgd", -0.5, -0.4)]
    summary = pd.DataFrame(rows, columns=["method", "metric", "attack", "mean", "high"])
    scores = precisions({"a": {"clean": [0.6], "pgd": [precision]}, "b": {"clean": [0.9], "pgd": [0.1]}})
    text = stamps.below_zero(summary.assign(smoothing="none"), scores)
    assert text.startswith("\nSaCo is below 0 under attack for a. ")  # random maps mean nothing
    assert f"falls by at most {0.6 - precision:.2f}" in text
    assert ("The maps stay on the object" in text) is stays


def test_what_an_attack_takes_from_localisation_is_paired_by_image() -> None:
    """An image that only one condition has moves the mean there, and is no loss."""
    assert stamps.precision_lost(precisions({"a": {"clean": [0.9, NAN], "pgd": [0.9, 0.1]}}), ["a"], "pgd") == 0


def test_places_are_among_the_methods_with_saco() -> None:
    saco = {"a": (0.9, 0.8, 0.95), "b": (0.2, 0.1, 0.3), "rare": (NAN, NAN, NAN), "random": (0.0, -0.1, 0.1)}
    text = stamps.board_found(board(saco, {"a": 0.5, "b": 0.4, "rare": 0.9, "random": 0.2}))
    assert "`a` has place 1 of 2" in text


@pytest.mark.parametrize(
    ("correlation", "words"),
    [(0.9, "agree closely"), (0.5, "agree in part"), (0.0, "hardly agree"), (-0.9, "disagree")],
)
def test_words_for_a_correlation(correlation: float, words: str) -> None:
    assert stamps._degree(correlation) == words

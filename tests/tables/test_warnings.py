"""Accuracies near chance, against the binomial distribution summed term by term, and where the warning stands."""

from __future__ import annotations

from fractions import Fraction
from math import comb
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from vitfaith.statistics.chance import LEVEL, near_chance
from vitfaith.tables.warnings import as_latex, as_markdown, chance_warnings, warnings_in


def guessing(correct: int, images: int, classes: int) -> Fraction:
    """P(X ≥ correct), exactly."""
    p = Fraction(1, classes)
    return sum((comb(images, k) * p**k * (1 - p) ** (images - k) for k in range(correct, images + 1)), Fraction(0))


@pytest.mark.parametrize(("images", "classes"), [(5, 2), (12, 10), (40, 10), (30, 1000), (64, 3)])
def test_near_chance_is_the_binomial_bound(images: int, classes: int) -> None:
    halfway = -(-images * (classes + 1) // (2 * classes))
    enough = guessing(halfway, images, classes) <= LEVEL
    for correct in range(images + 1):
        assert near_chance(correct, images, classes) == (enough and guessing(correct, images, classes) > LEVEL)


def test_few_images_say_nothing() -> None:
    assert not any(near_chance(k, 2, 10) for k in range(3))
    assert not any(near_chance(k, 4, 2) for k in range(5))
    assert not near_chance(5, 5, 1)


def frame(correct: int, images: int = 40, classes: int = 10, **more: str) -> pd.DataFrame:
    labels = np.arange(images) % classes
    targets = np.where(np.arange(images) < correct, labels, (labels + 1) % classes)
    columns = {"image_id": [f"i{i}" for i in range(images)], "label": labels, "target": targets}
    condition = {
        "dataset": "d",
        "model": "m",
        "attack": "clean",
        "smoothing": "none",
        "explained": "clean_prediction",
        **more,
    }
    return pd.DataFrame(columns).assign(probabilities=[np.zeros(classes)] * images, **condition)


def test_every_model_near_chance_is_named_once(tmp_path: Path) -> None:
    predictions = pd.concat([frame(4), frame(4, attack="pgd"), frame(30, model="good"), frame(3, dataset="e")])
    warnings = chance_warnings(predictions)
    assert [text.split(":")[0] for text in warnings] == ["dataset d, model m", "dataset e, model m"]
    assert (
        "4 of 40 clean images are classified as labelled, no better than chance (1 of 10 classes); look" in warnings[0]
    )
    order = [warnings[0].index(word) for word in ("order of the classes", "weights", "normalisation")]
    assert order == sorted(order)
    (tmp_path / "leaderboards.md").write_text(as_markdown(warnings) + "### board\n")
    assert warnings_in(tmp_path / "leaderboards.md") == warnings
    assert all(line.startswith("% Warning: ") for line in as_latex(warnings).splitlines())
    assert warnings_in(tmp_path / "nothing.md") == []
    assert as_markdown([]) == ""


def test_unlabelled_images_are_not_counted() -> None:
    assert chance_warnings(frame(4).assign(label=-1)) == []

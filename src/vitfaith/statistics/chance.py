"""Test whether an accuracy could come from guessing."""

from __future__ import annotations

import math

LEVEL = 0.01
"""An accuracy counts as near chance if guessing does as well with at least this probability."""

LIKELY = (
    "look first at the order of the classes (the dataset's labels and the model's), then at the weights, then at the "
    "normalisation"
)
"""Possible causes of an accuracy near chance, most likely first."""


def near_chance(correct: int, images: int, classes: int) -> bool:
    """Whether guessing among ``classes`` is right as often with a probability above :data:`LEVEL`.

    The probability is the binomial P(X ≥ ``correct``) of ``images`` trials with chance 1/``classes``. If even an accuracy
    halfway between chance and 1 could come from guessing, there are too few images to decide: False.

    Example:
        >>> near_chance(12, 100, 10), near_chance(60, 100, 10), near_chance(1, 2, 10)
        (True, False, False)
    """
    if classes < 2:
        return False
    halfway = math.ceil(images * (1 + 1 / classes) / 2)
    return _at_least(halfway, images, classes) <= LEVEL < _at_least(correct, images, classes)


def accuracy_warning(correct: int, images: int, classes: int) -> str:
    """Warning about an accuracy near chance; empty if the accuracy is above."""
    if not near_chance(correct, images, classes):
        return ""
    return (
        f"{correct} of {images} clean images are classified as labelled, no better than chance (1 of {classes} classes); "
        f"{LIKELY}"
    )


def _at_least(correct: int, images: int, classes: int) -> float:
    from scipy.stats import binom

    return float(binom.sf(correct - 1, images, 1 / classes))

"""A model that scores another one's maps must take the same images and have the same classes."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from vitfaith.errors import ConfigError


def reader(**changes: Any) -> Callable[[dict[str, Any]], None]:
    def change(raw: dict[str, Any]) -> None:
        model = copy.deepcopy(raw["models"]["vit_patch4"])
        arguments = model["arguments"] | changes.pop("arguments", {})
        raw["models"]["reader"] = model | {"maps_of": "vit_patch4", "arguments": arguments} | changes

    return change


def untrained(**arguments: Any) -> Callable[[dict[str, Any]], None]:
    recipe = {"train_on": "tiny", "test_on": "tiny"}

    def change(raw: dict[str, Any]) -> None:
        reader(arguments=arguments, weights="trained", training=recipe)(raw)
        raw["experiments"]["tiny"]["datasets"] = ["tiny"]

    return change


def test_a_twin_fits(run: Callable[..., list[str]]) -> None:
    run(reader())
    assert any("is trained first" in line for line in run(untrained()))


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (untrained(num_classes=7), "number of classes of 'reader' is 7, of 'vit_patch4' 10"),
        (untrained(patch_size=2), r"patch grid of 'reader' is \(14, 14\), of 'vit_patch4' \(7, 7\)"),
        (untrained(img_size=32), r"input shape of 'reader' is \(1, 32, 32\)"),
        (reader(mean=[0.5], std=[0.5]), r"normalisation \(mean, std\) of 'reader' is \(\(0.5,\), \(0.5,\)\)"),
    ],
)
def test_what_does_not_fit_is_named(run: Callable[..., list[str]], change: Any, what: str) -> None:
    with pytest.raises(ConfigError, match=rf"models\.reader\.maps_of: {what}"):
        run(change)


def test_a_placeholder_of_the_model_that_scores_is_looked_for(run: Callable[..., list[str]]) -> None:
    """The explained model has a DiffMask, the one that scores has none: the score job would fail after all others."""

    def change(raw: dict[str, Any]) -> None:
        raw["explainers"]["diffmask"] = {"weights": "vitfaith:diffmasks"}
        raw["metrics"]["saco"]["fill"] = {"name": "diffmask_placeholder", "explainer": "diffmask"}

    run(change)
    with pytest.raises(ConfigError, match=r"explainers\.diffmask\.weights, models\.reader: DiffMask .* does not exist"):
        run(reader(), change)

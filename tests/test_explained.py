"""Which class is explained: decided by hand, for each value."""

from __future__ import annotations

import pytest
import torch

from vitfaith.errors import ConfigError, InputError
from vitfaith.explained import as_value, class_in, classes, in_short, in_words, of_class

SCORES = torch.tensor([[0.1, 0.6, 0.3], [0.5, 0.1, 0.4], [0.2, 0.2, 0.6]])
FIRST = torch.tensor([1, 0, 2])


def test_each_value_by_hand() -> None:
    labels = torch.tensor([2, 2, 0])
    assert classes("clean_prediction", 3, predicted=FIRST).tolist() == [1, 0, 2]
    assert classes("prediction", 3, predicted=FIRST).tolist() == [1, 0, 2]
    assert classes("label", 3, labels=labels).tolist() == [2, 2, 0]
    assert classes("runner_up", 3, predicted=FIRST, scores=SCORES).tolist() == [
        2,
        2,
        0,
    ]  # a tie goes to the first class
    assert classes("class_2", 3).tolist() == [2, 2, 2]


def test_the_runner_up_is_never_the_predicted_class() -> None:
    saturated = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    assert classes("runner_up", 2, predicted=torch.tensor([0, 2]), scores=saturated).tolist() == [1, 0]


def test_what_decides_must_be_given() -> None:
    with pytest.raises(InputError, match="needs labels"):
        classes("label", 2)
    with pytest.raises(InputError, match="has no class for some images"):
        classes("label", 2, labels=torch.tensor([3, -1]))
    with pytest.raises(InputError, match="'prediction' needs predictions"):
        classes("prediction", 2)
    with pytest.raises(InputError, match="two classes at least"):
        classes("runner_up", 2, predicted=torch.tensor([0, 0]), scores=torch.ones(2, 1))


def test_values_and_words() -> None:
    assert class_in(of_class(12)) == 12
    assert class_in("label") is None
    assert in_words("prediction") == "the class predicted for the image given"
    assert in_words("class_3") == in_short("class_3") == "class 3"
    with pytest.raises(ConfigError, match="none of clean_prediction, prediction, label, runner_up, class_0"):
        in_words("mine")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", "class_3"),
        ("class_03", "class_3"),
        ("class_3", "class_3"),
        ("label", "label"),
        ("class_٣", "class_٣"),
        ("٣", "٣"),
    ],
)
def test_each_class_has_one_value(text: str, value: str) -> None:
    assert as_value(text) == value
    assert class_in("class_٣") is None

"""Smooth and efficient randomisation tests: order, cost, special cases, flags."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tests.sanity.oracles.base import subject
from tests.sanity.subjects import Counted, subject_of
from tests.sanity.test_randomisation import PARTS
from vitfaith.sanity.checks import RandomisationParameters, model_randomisation
from vitfaith.sanity.efficient_randomisation import (
    EfficientRandomisationParameters,
    complexity_rise,
    efficient_randomisation,
    histogram_entropy,
)
from vitfaith.sanity.noise import normal_copies
from vitfaith.sanity.registry import Subject
from vitfaith.sanity.smooth_randomisation import SmoothRandomisationParameters, smooth_randomisation


def counted() -> tuple[Subject, Counted]:
    given, explain = subject(), Counted()
    made = subject_of(given.classifier, explain, given.images, given.targets, given.image_ids, given.seed)
    explain.classes.clear()
    return made, explain


def test_without_noise_the_smooth_test_is_the_plain_one() -> None:
    given, _ = counted()
    settings = {"measures": ("pearson",), "stride": 3}
    plain = model_randomisation(given, RandomisationParameters(**settings)).to_pandas()  # type: ignore[arg-type]
    smooth = smooth_randomisation(
        given,
        SmoothRandomisationParameters(**settings, samples=2, noise=0.0, order="top_down"),  # type: ignore[arg-type]
    ).to_pandas()
    assert smooth.drop(columns="value").equals(plain.drop(columns="value"))
    np.testing.assert_allclose(smooth.value, plain.value, rtol=1e-5, atol=1e-6)


def test_parts_at_the_input_come_first_and_cost_their_explanations() -> None:
    given, explain = counted()
    parameters = SmoothRandomisationParameters(measures=("pearson",), samples=2, stride=4)
    frame = smooth_randomisation(given, parameters).to_pandas()
    assert len(explain.classes) == 2 * (1 + 2)
    upwards = PARTS[::-1]
    assert frame.drop_duplicates("step").reference.tolist() == [f"random {upwards[3]}", f"random {upwards[7]}"]
    values = frame[frame.method == "brightness"].value
    np.testing.assert_allclose(values, 1, rtol=1e-6)


def test_smooth_maps_do_not_depend_on_the_batch() -> None:
    given, _ = counted()
    parameters = SmoothRandomisationParameters(measures=("pearson",), samples=2, stride=99)
    whole = smooth_randomisation(given, parameters).to_pandas()
    single = subject_of(
        given.classifier, Counted(), given.images[2:3], given.targets[2:3], list(given.image_ids)[2:3], given.seed
    )
    merged = smooth_randomisation(single, parameters).to_pandas().merge(whole, on=["image_id", "method", "step"])
    assert len(merged) == 2
    np.testing.assert_allclose(merged.value_x, merged.value_y, rtol=1e-4)


def test_normal_copies_say_how_far_they_leave_the_range() -> None:
    for noisy, margin in normal_copies(subject(), noise=0.5, samples=3):
        assert margin > 0
        assert float(noisy.min()) >= -margin
        assert float(noisy.max()) <= 1 + margin
        spread = float((noisy - subject().images).std())
        assert spread == pytest.approx(0.5, rel=0.1)  # random images fill [0, 1] nearly


def test_entropy_of_a_histogram_by_hand() -> None:
    values = np.array([0.0, 0.1, 0.4, 0.6, 1.0, 1.0])
    assert histogram_entropy(values, 2) == pytest.approx(math.log(2))
    shares = (2 / 6, 1 / 6, 1 / 6, 2 / 6)
    assert histogram_entropy(values, 4) == pytest.approx(-sum(s * math.log(s) for s in shares))
    assert histogram_entropy(7 * values - 3, 4) == pytest.approx(histogram_entropy(values, 4))


def test_a_rise_by_hand_and_its_flags() -> None:
    one = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    even = torch.tensor([[1.0, 1.0], [0.0, 0.0]])
    maps = torch.stack([one, even, one, torch.ones(2, 2), one])
    random = torch.stack([even, one, one, one, one * torch.nan])
    values, flags = complexity_rise(maps, random, None)
    low, high = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25)), math.log(2)
    assert values[:3].tolist() == pytest.approx([high / low - 1, low / high - 1, 0])
    assert flags == ["", "", "", "constant", "nan"]
    assert values[3:].isnan().all()
    assert complexity_rise(maps[:0], random[:0], 3)[1] == []


def test_the_efficient_test_costs_one_explanation_and_a_map_of_the_image_alone_does_not_rise() -> None:
    given, explain = counted()
    before = {name: value.clone() for name, value in given.classifier.state_dict().items()}
    frame = efficient_randomisation(given, EfficientRandomisationParameters()).to_pandas()
    assert len(explain.classes) == 1
    assert set(frame.reference) == {"random model"}
    assert set(frame.metric) == {"complexity_rise"}
    assert (frame[frame.method == "brightness"].value == 0).all()
    assert (frame[frame.method == "gradient"].value != 0).any()
    assert all(torch.equal(value, before[name]) for name, value in given.classifier.state_dict().items())

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from vitfaith.attacks.craft.storage import Rounding, distances, pixel_lattice, to_lattice
from vitfaith.attacks.registry import Bound, Norm, check_radius
from vitfaith.errors import InputError

SHAPE = (2, 1, 3, 3)
clean_pixels = arrays(np.int64, SHAPE, elements=st.integers(0, 255))
unit = arrays(np.float64, SHAPE, elements=st.floats(-1, 1))
directions = st.sampled_from(["towards", "nearest", "away"])
IDS = ["a", "b"]


@settings(max_examples=60, deadline=None)
@given(clean_pixels, unit, st.sampled_from([0.001, 2 / 255, 8 / 255, 0.03, 0.5, 1.0]), directions)
def test_linf_bound_holds_for_what_is_stored(
    clean: np.ndarray, direction: np.ndarray, eps: float, rounding: str
) -> None:
    attacked = torch.from_numpy(np.clip(clean / 255 + eps * direction, 0, 1)).float()
    stored = to_lattice(torch.from_numpy(clean), attacked, Bound("linf", eps), IDS, "x", rounding)  # type: ignore[arg-type]
    assert int(stored.min()) >= 0
    assert int(stored.max()) <= 255
    linf, _ = distances(torch.from_numpy(clean), stored)
    assert float(linf.max()) <= eps + 1e-7


@settings(max_examples=60, deadline=None)
@given(clean_pixels, unit, st.sampled_from([0.001, 2 / 255, 0.1, 0.5, 2.0]), directions)
def test_l2_bound_holds_for_what_is_stored(clean: np.ndarray, direction: np.ndarray, eps: float, rounding: str) -> None:
    length = np.sqrt((direction**2).sum((1, 2, 3), keepdims=True)) + 1e-12
    attacked = torch.from_numpy(np.clip(clean / 255 + eps * direction / length, 0, 1)).float()
    stored = to_lattice(torch.from_numpy(clean), attacked, Bound("l2", eps), IDS, "x", rounding)  # type: ignore[arg-type]
    _, l2 = distances(torch.from_numpy(clean), stored)
    assert float(l2.max()) <= eps * (1 + 1e-6)


@settings(max_examples=40, deadline=None)
@given(clean_pixels, unit)
def test_towards_never_moves_further_and_away_never_less(clean: np.ndarray, direction: np.ndarray) -> None:
    attacked = torch.from_numpy(np.clip(clean / 255 + 0.1 * direction, 0, 1))
    moved = (attacked * 255 - torch.from_numpy(clean)).abs()
    for rounding, sign in (("towards", 1), ("away", -1)):
        stored = to_lattice(torch.from_numpy(clean), attacked, None, IDS, "x", rounding)  # type: ignore[arg-type]
        assert float((sign * ((stored - torch.from_numpy(clean)).abs() - moved)).max()) <= 2e-3


@settings(max_examples=60, deadline=None)
@given(clean_pixels, unit, st.sampled_from([1 / 255, 2 / 255, 0.1, 0.5, 2.0]), st.sampled_from(["nearest", "away"]))
def test_in_an_l2_ball_the_largest_fractions_go_up(
    clean: np.ndarray, direction: np.ndarray, eps: float, rounding: str
) -> None:
    """Slow form: one coordinate at a time, largest fraction first, stopping at the first that leaves the ball."""
    length = np.sqrt((direction**2).sum((1, 2, 3), keepdims=True)) + 1e-12
    attacked = torch.from_numpy(np.clip(clean / 255 + 0.999 * eps * direction / length, 0, 1))
    stored = to_lattice(torch.from_numpy(clean), attacked, Bound("l2", eps), IDS, "x", rounding)  # type: ignore[arg-type]
    for image, kept, start in zip(attacked.numpy(), stored.numpy(), clean, strict=True):
        moved = (image * 255 - start).flatten()
        snapped = np.abs(moved - np.round(moved)) < 1e-3
        levels = np.where(snapped, np.round(moved), np.trunc(moved))
        fraction = np.where(snapped, 0, np.abs(moved) - np.abs(levels))
        wanted = [
            i for i in np.argsort(-fraction, kind="stable") if fraction[i] > (0.5 if rounding == "nearest" else 0)
        ]
        for i in wanted:
            tried = levels.copy()
            tried[i] += np.sign(moved[i])
            if (tried**2).sum() > (eps * 255) ** 2:
                break
            levels = tried
        assert np.array_equal(kept.flatten() - start.flatten(), levels)


def test_float_rounding_does_not_cost_a_level() -> None:
    clean = torch.arange(0, 248).view(1, 1, 8, 31)
    attacked = (clean.float() / 255 + 8 / 255).clamp(0, 1)
    stored = to_lattice(clean, attacked, Bound("linf", 8 / 255), ["a"], "x")
    assert torch.equal(stored, clean + 8)


def test_a_level_just_outside_an_l2_ball_is_given_up() -> None:
    clean = torch.full((1, 1, 1, 2), 100)
    attacked = (clean.double() + torch.tensor([[[[30.0, 40.0]]]])) / 255
    assert to_lattice(clean, attacked, Bound("l2", 50 / 255), ["a"], "x").flatten().tolist() == [130, 140]
    assert to_lattice(clean, attacked, Bound("l2", 49.999 / 255), ["a"], "x").flatten().tolist() == [130, 139]


@pytest.mark.parametrize("eps", [1 / 255, 0.0039215686, (1 - 0.9e-6) / 255])
@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("direction", ["towards", "nearest", "away"])
def test_the_smallest_radius_that_is_accepted_holds_a_grey_level(norm: Norm, eps: float, direction: Rounding) -> None:
    check_radius(eps)
    clean = torch.full((1, 1, 2, 2), 100)
    attacked = clean.double() / 255
    attacked[0, 0, 0, 0] += eps
    stored = to_lattice(clean, attacked, Bound(norm, eps), ["a"], "x", direction)
    assert (stored - clean).flatten().tolist() == [1, 0, 0, 0]


def test_distances_by_hand() -> None:
    linf, l2 = distances(torch.zeros(1, 1, 1, 2).long(), torch.tensor([[[[3, 4]]]]))
    assert float(linf) == pytest.approx(4 / 255)
    assert float(l2) == pytest.approx(5 / 255)


def test_an_attack_beyond_its_bound_is_an_error() -> None:
    clean = torch.zeros(1, 1, 2, 2).long()
    attacked = torch.full((1, 1, 2, 2), 0.05)
    with pytest.raises(InputError, match=r"'x' moved image 'a' by 0.05 in linf, beyond its bound 0.04"):
        to_lattice(clean, attacked, Bound("linf", 0.04), ["a"], "x")
    with pytest.raises(InputError, match="beyond its bound"):
        to_lattice(clean, attacked, Bound("l2", 0.09), ["a"], "x")


@pytest.mark.parametrize(
    ("value", "message"), [(float("nan"), "NaN"), (1.2, r"left \[0, 1\]"), (-0.1, r"left \[0, 1\]")]
)
def test_broken_attacks_are_named(value: float, message: str) -> None:
    attacked = torch.zeros(1, 1, 2, 2)
    attacked[0, 0, 1, 1] = value
    with pytest.raises(InputError, match=message):
        to_lattice(torch.zeros(1, 1, 2, 2).long(), attacked, None, ["a"], "x")


def test_only_stored_pixels_are_attacked() -> None:
    values = torch.arange(256).view(1, 1, 16, 16)
    assert torch.equal(pixel_lattice(values.float() / 255), values)
    assert torch.equal(pixel_lattice(values.double() / 255), values)
    with pytest.raises(InputError, match="uint8"):
        pixel_lattice(torch.full((1, 1, 2, 2), 0.3))
    with pytest.raises(InputError, match="NaN"):
        pixel_lattice(torch.full((1, 1, 2, 2), float("nan")))
    with pytest.raises(InputError, match=r"not in \[0, 1\]"):
        pixel_lattice(torch.full((1, 1, 2, 2), 255.0))

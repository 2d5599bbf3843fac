"""Pixels that a model takes."""

from __future__ import annotations

import pytest
import torch

from vitfaith.errors import InputError
from vitfaith.models.pixels import check_finite, check_pixels


def test_pixels_of_the_unit_interval_pass_and_so_do_none() -> None:
    check_pixels(torch.tensor([0.0, 0.5, 1.0, 1 + 5e-7]))
    check_pixels(torch.empty(0, 3, 2, 2))
    check_pixels(torch.tensor([-0.4, 1.4]), margin=0.5)
    check_finite(torch.tensor([-7.0, 255.0]))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_no_numbers_are_refused(value: float) -> None:
    for check in (check_finite, check_pixels):
        with pytest.raises(InputError, match="NaN or infinite values; repair or drop those files"):
            check(torch.tensor([0.5, value]))


def test_the_range_is_named() -> None:
    with pytest.raises(InputError, match=r"lie in \[-0.1, 1\], not in \[0, 1\]; normalisation belongs to the model"):
        check_pixels(torch.tensor([-0.1, 1.0]))
    with pytest.raises(InputError, match=r"lie in \[0, 2\], not in \[-0.5, 1.5\]"):
        check_pixels(torch.tensor([0.0, 2.0]), margin=0.5)

"""Mask sets: their sizes, their draws, their JSON form."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from vitfaith.errors import InputError
from vitfaith.metrics.bank.masks import BankRequest, Cells, Singles, Subsets
from vitfaith.metrics.fills.registry import FILLS
from vitfaith.rng import uniform


@pytest.mark.parametrize(("size", "count"), [(1, 1), (3, 3), (0.2, 3), (0.01, 1), (0.9, 14)])
def test_subsets_have_their_size_and_follow_the_draws(size: float, count: int) -> None:
    ids = ["a", "b"]
    masks = Subsets(size, 7).masks((4, 4), ids, 5)
    assert masks.shape == (2, 7, 16)
    assert (masks.sum(2) == count).all()
    draws = uniform(5, ids, f"bank {size} None", (7, 16))
    for image in range(2):
        for s in range(7):
            smallest = sorted(range(16), key=lambda p: float(draws[image, s, p]))[:count]
            assert masks[image, s].nonzero().flatten().tolist() == sorted(smallest)


def test_subsets_are_drawn_evenly_and_differ_between_images() -> None:
    masks = Subsets(4, 2000).masks((4, 4), ["a", "b"], 0)
    assert (masks.float().mean(1) - 0.25).abs().max() < 0.05
    assert (masks[0] != masks[1]).any()


def test_cells_partition_the_grid() -> None:
    masks = Cells(3).masks((7, 4), ["a"], 0)[0]
    assert (masks.sum(0) == 1).all()
    assert masks.sum(1).view(3, 3).tolist() == [[6, 3, 3], [4, 2, 2], [4, 2, 2]]
    blocks = Subsets(2, 9, side=3).masks((7, 4), ["a"], 0)[0]
    for block in blocks:
        parts = [cell for cell in masks if (block & cell).any()]
        assert len(parts) == 2
        assert torch.equal(torch.stack(parts).any(0), block)


@pytest.mark.parametrize("masks", [Subsets(16, 3), Subsets(0.99, 3), Cells(5), Subsets(1, 3, side=5)])
def test_masks_that_do_not_fit_are_refused(masks: Any) -> None:
    with pytest.raises(InputError, match=r"choose|fewer"):
        masks.masks((4, 4), ["a"], 0)


@pytest.mark.parametrize("masks", [Singles(), Cells(4), Subsets(0.2, 100), Subsets(3, 10, 5)], ids=str)
def test_a_request_survives_json(masks: Any) -> None:
    request = BankRequest(masks, FILLS.item("noise", draw=2))
    assert BankRequest.from_spec(json.loads(json.dumps(request.spec()))) == request

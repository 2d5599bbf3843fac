"""Keyed random numbers: what they depend on and what they do not."""

from __future__ import annotations

from collections import Counter

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from vitfaith.rng import derive_seed, normal, permutation, uniform
from vitfaith.ties import tie_permutation


@given(st.integers(), st.text(), st.text(), st.integers(0, 1000))
def test_derive_seed_fits_a_torch_generator(seed: int, image_id: str, purpose: str, sample: int) -> None:
    value = derive_seed(seed, image_id, purpose, sample)
    assert 0 <= value < 2**63
    torch.Generator().manual_seed(value)


def test_every_part_of_the_key_matters() -> None:
    keys = [(0, "a", "noise", 0), (1, "a", "noise", 0), (0, "b", "noise", 0), (0, "a", "map", 0), (0, "a", "noise", 1)]
    assert len({derive_seed(*key) for key in keys}) == len(keys)


def test_parts_do_not_run_into_each_other() -> None:
    assert derive_seed(0, "ab", "c") != derive_seed(0, "a", "bc")


def test_a_batch_of_noise_is_a_stack_of_singles_in_any_order() -> None:
    ids = ["a", "b", "c"]
    for draw in (normal, uniform):
        together = draw(3, ids, "noise", (2, 4))
        assert torch.equal(together, torch.cat([draw(3, [i], "noise", (2, 4)) for i in ids]))
        assert torch.equal(together.flip(0), draw(3, ids[::-1], "noise", (2, 4)))


def test_known_value_stays() -> None:
    """Results of earlier versions must stay reproducible: this number may never change."""
    assert derive_seed(2024, "test-00000", "dds", 3) == 2738021484970491886


def test_permutations_are_uniform_and_keyed() -> None:
    drawn = [tuple(permutation(0, f"image-{i}", "ties", 3)) for i in range(3000)]
    counts = Counter(drawn)
    assert len(counts) == 6
    expected, deviation = 500, np.sqrt(3000 * 5 / 36)
    assert max(abs(count - expected) for count in counts.values()) < 4 * deviation
    assert np.array_equal(permutation(7, "a", "ties", 50), permutation(7, "a", "ties", 50))
    keys = [(7, "a", "ties", 50, 0), (8, "a", "ties", 50, 0), (7, "b", "ties", 50, 0), (7, "a", "sizes", 50, 0)]
    assert len({tuple(permutation(*key)) for key in [*keys, (7, "a", "ties", 50, 1)]}) == 5


def test_the_order_of_ties_holds_every_feature_once() -> None:
    for number in (1, 16, 196):
        order = tie_permutation(3, "a", number)
        assert order.dtype == np.int64
        assert sorted(order) == list(range(number))
    assert not np.array_equal(tie_permutation(3, "a", 196), tie_permutation(3, "b", 196))

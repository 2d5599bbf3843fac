"""Stratified subsets and shards."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitfaith.datasets.subset import shard_count, stratified_subset
from vitfaith.errors import ConfigError


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.data())
def test_sizes_order_and_shares(labels: list[int], data: st.DataObject) -> None:
    array = np.array(labels)
    count = data.draw(st.integers(1, len(labels)))
    chosen = stratified_subset(array, count, seed=0)
    assert len(chosen) == count
    assert len(set(chosen)) == count
    assert list(chosen) == sorted(chosen)
    for label in set(labels):
        exact = count * np.mean(array == label)
        assert abs(np.sum(array[chosen] == label) - exact) < 1


def test_equal_classes_stay_equal_and_growing_keeps_images() -> None:
    labels = np.repeat(np.arange(10), 100)
    small, large = (stratified_subset(labels, n, seed=5) for n in (50, 500))
    assert np.bincount(labels[small]).tolist() == [5] * 10
    assert set(small) <= set(large)
    assert not np.array_equal(small, stratified_subset(labels, 50, seed=6))


def test_asking_for_too_many_says_so() -> None:
    with pytest.raises(ConfigError, match="asks for 3, the dataset has 2"):
        stratified_subset(np.array([0, 1]), 3, seed=0)


def test_shard_count() -> None:
    assert [shard_count(n, 4) for n in (1, 4, 5, 8, 9)] == [1, 1, 2, 2, 3]

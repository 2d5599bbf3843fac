"""Tools that measure shipped networks without a run: maps with ties, groups of the compared kind, images of the study."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from saco_null import CASES, KINDS, MAPS, FloorGroups, cell, means, scores
from stored_precision import STORED, kept
from study_data import images_of, size_of, study_of

from tests.conftest import tiny_vit
from vitfaith.datasets.opening import open_source
from vitfaith.datasets.subset import stratified_subset
from vitfaith.metrics.engine.requests import Features
from vitfaith.metrics.fills.registry import FILLS


def test_an_equal_map_keeps_all_of_its_leading_patches_whatever_its_ties() -> None:
    constant, ties, plain = torch.zeros(5, 5), torch.zeros(5, 5), torch.arange(25.0).reshape(5, 5)
    ties[0, 0] = 1
    maps = torch.stack([constant, ties, plain])
    assert kept(maps, maps) == 1
    assert kept(plain.flip(0)[None], plain[None]) == 0
    assert kept(constant[None], plain[None]) == pytest.approx(0.2), (
        "a map that storing made constant keeps what chance keeps"
    )


def test_storing_with_more_bits_changes_less() -> None:
    values = torch.linspace(0, 1, 1001)
    changes = {name: float((store(values) - values).abs().max()) for name, (store, _) in STORED.items()}
    assert changes["uint8"] == pytest.approx(0.5 / 255, rel=0.1)
    assert changes["uint16"] < changes["float16"] < changes["uint8"]


def test_compared_groups_have_the_same_borders_in_every_image() -> None:
    edges = FloorGroups(10, Features("patch"), FILLS.item("image_mean")).edges([49, 49], ["a", "b"], 0)
    assert edges.tolist() == [[0, 4, 9, 14, 19, 24, 29, 34, 39, 44, 49]] * 2


def test_the_mean_of_random_maps_has_the_standard_error_over_images() -> None:
    network, images = tiny_vit(seed=3), torch.rand(20, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    ids, case = [str(i) for i in range(20)], CASES[3]
    found = means(network, images, ids, case, 4, seed=1)
    fill = FILLS.item("image_mean")
    requests = [kind(case[1], Features("patch"), fill) for kind in KINDS.values()]
    parts = [scores(network, images[a:b], ids[a:b], requests, case[0], 4, 1) for a, b in ((0, 16), (16, 20))]
    assert set(found) == {(name, index) for name in MAPS for index in range(len(KINDS))}
    for key, (mean, error) in found.items():
        values = np.concatenate([part[key].numpy() for part in parts]).mean(1)
        assert mean == pytest.approx(values.mean())
        assert error == pytest.approx(np.sqrt(((values - values.mean()) ** 2).sum() / 19 / 20))
    other = means(network, images, ids, case, 4, seed=2)
    assert all(found[key] != other[key] for key in found)
    assert all(side * side % count for side, count, _ in CASES), "groups of unequal size"


def test_no_cell_says_minus_nought() -> None:
    assert cell(-0.0001, 0.02) == "0.000 ± 0.020"
    assert cell(-0.0123, 0.0045) == "-0.012 ± 0.004"


def test_images_are_those_of_the_study() -> None:
    study = study_of("config.yaml")
    images, labels, ids = images_of(study, "fashion_mnist", 8)
    source = open_source(study.datasets["fashion_mnist"][0].spec())
    chosen = stratified_subset(source.labels, 256, study.seed)[:8]
    assert ids == [source.image_ids[i] for i in chosen]
    assert labels.tolist() == source.labels[chosen].tolist()
    np.testing.assert_array_equal(images.numpy(), source.read(chosen).astype(np.float32) / 255)
    assert size_of(study, "fashion_mnist") == 256

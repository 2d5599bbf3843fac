"""Features, ranks and the pixels that they cover."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch

from tests.metrics import textbook
from vitfaith.metrics.engine.ranking import Ranking, segment_superpixels
from vitfaith.metrics.engine.requests import Features, KeptShares, Shares, Stride
from vitfaith.models.patches import Patches


@pytest.mark.parametrize("size", [(16, 16), (14, 9), (4, 4), (2, 3)])
def test_upsampling_is_bilinear_with_half_pixel_centres(size: tuple[int, int]) -> None:
    maps = torch.randn(2, 4, 5, generator=torch.Generator().manual_seed(0))
    ours = Patches.even((4, 5), size).upsample(maps)
    torchs = torch.nn.functional.interpolate(maps[:, None], size, mode="bilinear", align_corners=False)[:, 0]
    assert torch.allclose(ours, torchs, atol=1e-6)
    assert ours[1].numpy() == pytest.approx(textbook.bilinear(maps[1].numpy(), *size), abs=1e-6)


def test_upsampling_keeps_plateaus_exactly_flat() -> None:
    maps = torch.full((1, 7, 7), 0.1)
    maps[0, 0, 0] = 0.9
    pixels = Patches.even((7, 7), (224, 224)).upsample(maps)
    assert (pixels[0, 48:] == maps[0, 1, 1]).all()
    assert (pixels[0, :16, :16] == maps[0, 0, 0]).all()


EVERY = [Features("patch"), Features("pixel"), Features("region", 5), Features("superpixel", 9)]


def test_ranks_descend_and_ties_are_in_the_random_order_of_the_image() -> None:
    maps = torch.tensor([[[0.0, -0.0], [2.0, 0.0]]])
    ids = [f"image-{i}" for i in range(60)]
    ranking = Ranking(Features("patch"), torch.zeros(60, 3, 8, 8), Patches.even((2, 2), (8, 8)), ids, 3)
    ranks = ranking.ranks(maps.expand(60, -1, -1), torch.arange(60))
    assert (ranks[:, 2] == 0).all()
    assert {tuple(row) for row in ranks[:, [0, 1, 3]].tolist()} == set(itertools.permutations((1, 2, 3)))
    many = torch.randint(0, 3, (4, 14, 14), generator=torch.Generator().manual_seed(0)).float()
    ranks = Ranking(Features("patch"), torch.zeros(4, 3, 28, 28), Patches.even((14, 14), (28, 28)), ids[:4], 3).ranks(
        many, torch.arange(4)
    )
    for one, rank, image_id in zip(many, ranks, ids, strict=False):
        order = textbook.order_of(one.numpy(), image_id, 3)
        assert [order.index(feature) for feature in range(196)] == rank.tolist()


@pytest.mark.parametrize("features", [*EVERY[:3], Features("superpixel", 60)], ids=str)
def test_ties_do_not_depend_on_the_batch_the_map_or_the_position(
    features: Any, images: torch.Tensor, image_ids: list[str]
) -> None:
    """A plateau of two maps of an image is in one order, which no neighbour changes; corners have no privilege."""
    plateau = torch.zeros(2, 4, 4)
    plateau[0, 3, 3], plateau[1] = 1.0, -1.0
    plateau[1, 0, 0] = -2.0
    whole = Ranking(features, images, Patches.even((4, 4), (16, 16)), image_ids, 5)
    first = whole.ranks(plateau[:1].expand(5, -1, -1), torch.arange(5))
    for index, total in enumerate(whole.totals):
        alone = Ranking(
            features, images[index : index + 1], Patches.even((4, 4), (16, 16)), image_ids[index : index + 1], 5
        )
        ranks = alone.ranks(plateau, torch.zeros(2, dtype=torch.int64))
        assert torch.equal(ranks[0, :total], first[index, :total])
        scores = alone.scores(plateau, torch.zeros(2, dtype=torch.int64))
        tied = ((scores[0] == 0) & (scores[1] == -1)).nonzero()[:, 0]
        assert len(tied) > 2
        order = [tied[ranks[map_][tied].argsort()].tolist() for map_ in (0, 1)]
        drawn = textbook.shuffled(total, 5, image_ids[index], "ties")
        assert order[0] == order[1] == sorted(tied.tolist(), key=drawn.index)


def test_regions_cut_by_the_edge_tie_with_whole_ones() -> None:
    """In float32, the mean of 5 · 5 times 0.1 is not that of 1 · 5 times 0.1."""
    ranking = Ranking(Features("region", 5), torch.zeros(1, 3, 16, 16), Patches.even((4, 4), (16, 16)), ["a"], 0)
    for value in torch.rand(20, generator=torch.Generator().manual_seed(0)).tolist():
        assert len(ranking.scores(torch.full((1, 4, 4), value), torch.tensor([0])).unique()) == 1


@pytest.mark.parametrize("features", EVERY, ids=str)
def test_features_cover_the_image_once(images: torch.Tensor, image_ids: list[str], features: Any) -> None:
    ranking = Ranking(features, images, Patches.even((4, 4), (16, 16)), image_ids, 0)
    everyone = torch.arange(5)
    widest = max(ranking.totals)
    covered = torch.zeros(5, 16, 16)
    for feature in range(widest):
        removed = torch.zeros(5, widest, dtype=torch.bool)
        removed[:, feature] = True
        pixels = ranking.pixels(removed, everyone)
        covered += pixels
        for index, total in enumerate(ranking.totals):
            assert bool(pixels[index].any()) == (feature < total)
    assert (covered == 1).all()


def test_patches_of_a_grid_that_does_not_divide_the_image() -> None:
    ranking = Ranking(Features("patch"), torch.zeros(1, 3, 7, 8), Patches.even((3, 4), (7, 8)), ["a"], 0)
    removed = torch.zeros(1, 12, dtype=torch.bool)
    removed[0, 4] = True
    assert ranking.pixels(removed, torch.tensor([0]))[0].nonzero().tolist() == [[3, 0], [3, 1], [4, 0], [4, 1]]


def test_missing_superpixels_rank_last(images: torch.Tensor, image_ids: list[str]) -> None:
    flat = images.clone()
    flat[0] = 0.5
    flat[0, :, :, 8:] = 0.1
    ranking = Ranking(Features("superpixel", 20), flat, Patches.even((4, 4), (16, 16)), image_ids, 0)
    assert len(set(ranking.totals)) > 1
    maps = -torch.rand(5, 4, 4, generator=torch.Generator().manual_seed(0))
    scores = ranking.scores(maps, torch.arange(5))
    ranks = ranking.ranks(maps, torch.arange(5))
    labels = segment_superpixels(flat, 20)
    for index, total in enumerate(ranking.totals):
        assert sorted(ranks[index, :total].tolist()) == list(range(total))
        pixels = Patches.even((4, 4), (16, 16)).upsample(maps[index : index + 1])[0]
        for feature in range(total):
            expected = pixels[labels[index] == feature].double().mean()
            assert float(scores[index, feature]) == pytest.approx(float(expected), abs=1e-6)


def test_superpixels_of_grey_images() -> None:
    grey = torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    labels = segment_superpixels(grey, 12)
    assert labels.shape == (2, 16, 16)
    assert labels.flatten(1).min(1).values.tolist() == [0, 0]
    assert labels.max() > 3


def test_counts_of_the_grids() -> None:
    assert Shares((0.01, 0.07, 0.5)).counts(100) == [0, 1, 7, 50]
    assert Shares((0.01,)).counts(16) == [0, 1]
    assert KeptShares((0.01, 0.2)).counts(16) == [0, 15, 12]
    assert Stride(6).counts(16) == [0, 6, 12, 16]
    assert Stride(1, 100).counts(4) == [0, 1, 2, 3, 4]
    assert Stride(2, 3).counts(100) == [0, 2, 4, 6]

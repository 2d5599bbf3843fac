"""Masks of the perturbation explainers: soft crops, merged maps of features and k-means, against authors and scikit-learn."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans

from tests.explainers.textbook import perturbation as textbook
from vitfaith.explainers.rise import RiseParameters, soft_masks
from vitfaith.explainers.tis import k_means
from vitfaith.explainers.vit_cx import mask_seeds
from vitfaith.models.patches import Patches


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 8), st.integers(4, 20), st.integers(4, 20), st.integers(0, 100))
def test_soft_masks_are_bilinear_crops(side: int, height: int, width: int, seed: int) -> None:
    source = torch.Generator().manual_seed(seed)
    cells = (torch.rand(2, side, side, generator=source) < 0.5).float()
    shifts = torch.stack(
        [torch.randint(math.ceil(length / side), (2,), generator=source) for length in (height, width)], 1
    )
    masks = soft_masks(cells, shifts, (height, width))
    assert float(masks.min()) >= 0
    assert float(masks.max()) <= 1 + 1e-6
    for k in range(2):
        expected = textbook.soft_mask(cells[k], int(shifts[k, 0]), int(shifts[k, 1]), height, width)
        assert torch.allclose(masks[k], expected, atol=1e-5)
        for rows, columns in ((-(-height // 3), -(-width // 4)), (height // 3, width // 4)):  # cut, or pixels left over
            patches = Patches((height, width), (rows, columns), (3, 4))
            pooled = soft_masks(cells, shifts, (height, width), patches)[k]
            for r, c in ((0, 0), (rows - 1, columns - 1), (rows // 2, 0)):
                mean = expected[3 * r : 3 * r + 3, 4 * c : 4 * c + 4].mean()
                assert float(pooled[r, c]) == pytest.approx(float(mean), abs=1e-5)


def test_soft_masks_show_each_pixel_equally_often() -> None:
    """E[M] = keep at every pixel, borders included: what makes the normalisation unbiased."""
    source = torch.Generator().manual_seed(0)
    cells = (torch.rand(20000, 4, 4, generator=source) < 0.3).float()
    shifts = torch.randint(2, (20000, 2), generator=source)
    mean = soft_masks(cells, shifts, (8, 8)).mean(0)
    assert float((mean - 0.3).abs().max()) < 5 * math.sqrt(0.3 * 0.7 / 20000)


@pytest.mark.parametrize(("side", "size"), [(1, (6, 6)), (2, (8, 8)), (3, (16, 10)), (7, (28, 30)), (7, (224, 224))])
def test_soft_masks_are_the_authors(side: int, size: tuple[int, int]) -> None:
    """eclique/RISE: ``resize(grid, (s + 1) · ceil(size / s), order=1, mode="reflect")``, cropped at 0 … ceil(size / s) − 1."""
    from skimage.transform import resize

    cell = [math.ceil(length / side) for length in size]
    cells = (torch.rand(6, side, side, generator=torch.Generator().manual_seed(side)) < 0.5).float()
    shifts = torch.tensor([[0, 0], [cell[0] - 1, cell[1] - 1], [0, cell[1] - 1], [cell[0] // 2, 0], [0, 1], [1, 0]])
    shifts = torch.minimum(shifts, torch.tensor(cell) - 1)
    ours = soft_masks(cells, shifts, size)
    enlarged = tuple((side + 1) * length for length in cell)
    for k, (top, left) in enumerate(shifts.tolist()):
        large = resize(cells[k].numpy(), enlarged, order=1, mode="reflect", anti_aliasing=False)
        expected = torch.from_numpy(large[top : top + size[0], left : left + size[1]].copy())
        assert torch.allclose(ours[k], expected.float(), atol=1e-5)
        if size[0] < 100:
            assert torch.allclose(ours[k], textbook.soft_mask(cells[k], top, left, *size), atol=1e-6)


def test_shifts_reach_as_far_as_the_authors() -> None:
    """Each of 0 … ceil(size / s) − 1 in both directions, equally often, and no other."""
    from vitfaith.explainers.rise import _draw

    _, shifts = _draw(0, "a", 0, RiseParameters(masks=20000, cells=7), (28, 30))
    for axis, reach in enumerate((4, 5)):
        counts = shifts[:, axis].bincount()
        assert len(counts) == reach
        assert float((counts / 20000 - 1 / reach).abs().max()) < 0.015


@settings(max_examples=15, deadline=None)
@given(count=st.integers(2, 20), distance=st.floats(0.02, 0.6), seed=st.integers(0, 1000))
def test_merged_masks_are_scikit_learns_clusters(count: int, distance: float, seed: int) -> None:
    channels = torch.rand(count, 4, 5, generator=torch.Generator().manual_seed(seed)) ** 3 - 0.4
    patches = Patches.even((channels.shape[1], channels.shape[2]), (16, 20))
    ours = patches.enlarge(mask_seeds(channels, patches, distance))
    assert torch.allclose(ours, textbook.merged_masks(channels, (16, 20), distance), atol=1e-5)


def test_constant_channels_make_no_mask() -> None:
    channels = torch.randn(3, 4, 4, generator=torch.Generator().manual_seed(0))
    channels[1] = 0.7
    patches = Patches.even((4, 4), (16, 16))
    assert torch.equal(mask_seeds(channels, patches, 1e-6), mask_seeds(channels[[0, 2]], patches, 1e-6))
    assert mask_seeds(channels[[1]], patches, 0.1).shape == (0, 4, 4)
    assert mask_seeds(channels[[0]], patches, 0.1).shape == (1, 4, 4)


@settings(max_examples=15, deadline=None)
@given(st.integers(4, 40), st.integers(1, 4), st.integers(0, 1000))
def test_k_means_is_scikit_learns(count: int, clusters: int, seed: int) -> None:
    points = torch.randn(count, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    start = points[torch.randperm(count, generator=torch.Generator().manual_seed(seed))[:clusters]]
    ours = k_means(points, clusters, 100, torch.Generator().manual_seed(seed))
    theirs = KMeans(clusters, init=start.numpy(), n_init=1, max_iter=100, tol=0).fit(points.numpy())
    # Where a cluster runs empty the two differ on purpose: scikit-learn moves it, ours keeps its centroid.
    if len(set(theirs.labels_)) == clusters and len(torch.cdist(points, ours).argmin(1).unique()) == clusters:
        assert torch.allclose(ours, torch.from_numpy(theirs.cluster_centers_), atol=1e-8)


def test_k_means_keeps_the_centroid_of_an_empty_cluster() -> None:
    points = torch.tensor([[0.0], [0.0], [0.0], [4.0]])
    source = torch.Generator().manual_seed(0)
    centroids = k_means(points, 3, 50, source)
    assert sorted(centroids.flatten().tolist()) in ([0.0, 0.0, 0.0], [0.0, 0.0, 4.0], [1.0, 0.0, 0.0])
    assert bool(torch.isfinite(centroids).all())

"""COCO's masks: against pixels counted one by one, and against pycocotools."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as oracle

from vitfaith.datasets.files.coco_masks import polygon_mask, run_length_mask, run_lengths, segmentation_mask

SHAPES = st.tuples(st.integers(1, 30), st.integers(1, 30))


def textbook_inside(points: list[tuple[float, float]], x: float, y: float) -> bool:
    """Even-odd rule: a ray to the left crosses the outline an odd number of times."""
    crossings = 0
    for (x0, y0), (x1, y1) in zip(points, points[1:] + points[:1], strict=True):
        if (y0 > y) != (y1 > y) and x >= x0 + (y - y0) * (x1 - x0) / (y1 - y0):
            crossings += 1
    return crossings % 2 == 1


@settings(max_examples=40, deadline=None)
@given(SHAPES, st.integers(0, 2**20))
def test_polygons_are_the_pixels_whose_centre_is_inside(shape: tuple[int, int], seed: int) -> None:
    height, width = shape
    rng = np.random.default_rng(seed)
    corners = rng.uniform(-3, 33, (rng.integers(3, 8), 2))
    expected = [[textbook_inside(corners.tolist(), c + 0.5, r + 0.5) for c in range(width)] for r in range(height)]
    assert np.array_equal(polygon_mask(corners.ravel(), height, width), expected)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**20))
def test_polygons_differ_from_pycocotools_at_the_outline_only(seed: int) -> None:
    rng = np.random.default_rng(seed)
    angles = np.sort(rng.uniform(0, 2 * np.pi, 9))
    radius = rng.uniform(12, 28, 9)
    corners = np.stack([32 + radius * np.cos(angles), 32 + radius * np.sin(angles)], axis=1)
    ours = polygon_mask(corners.ravel(), 64, 64)
    theirs = oracle.decode(oracle.frPyObjects([corners.ravel().tolist()], 64, 64))[..., 0].astype(bool)
    rows, columns = np.nonzero(ours != theirs)
    centres = np.stack([columns, rows], axis=1) + 0.5
    starts, ways = corners, np.roll(corners, -1, axis=0) - corners
    along = np.clip(((centres[:, None] - starts) * ways).sum(2) / (ways**2).sum(1), 0, 1)
    distance = np.linalg.norm(starts + along[..., None] * ways - centres[:, None], axis=2).min(1)
    assert (distance < 0.5).all(), "pixels differ that the outline does not touch"
    assert (ours & theirs).sum() / (ours | theirs).sum() > 0.95


@settings(max_examples=40, deadline=None)
@given(SHAPES, st.floats(0, 1), st.integers(0, 2**20))
def test_run_lengths_are_those_of_pycocotools(shape: tuple[int, int], share: float, seed: int) -> None:
    mask = np.random.default_rng(seed).random(shape) < share
    packed = oracle.encode(np.asfortranarray(mask.astype(np.uint8)))
    text = packed["counts"].decode()
    assert np.array_equal(segmentation_mask({"size": list(shape), "counts": text}, *shape), mask)
    flat = mask.T.ravel().tolist()
    counts, value = [0], False
    for pixel in flat:  # the textbook's coder: count until the value changes
        if pixel != value:
            counts.append(0)
            value = pixel
        counts[-1] += 1
    assert list(run_lengths(text)) == counts
    assert np.array_equal(run_length_mask(counts, *shape), mask)


def test_long_runs_and_the_union_of_polygons() -> None:
    mask = np.zeros((700, 900), np.uint8)
    mask[3:600, 100:101] = 1
    mask[100:110, 500:] = 1
    packed = oracle.encode(np.asfortranarray(mask))
    assert np.array_equal(segmentation_mask({"size": [700, 900], "counts": packed["counts"].decode()}, 700, 900), mask)
    two = segmentation_mask([[0, 0, 2, 0, 2, 2, 0, 2], [1, 1, 4, 1, 4, 3, 1, 3]], 4, 5)
    assert two.astype(int).tolist() == [[1, 1, 0, 0, 0], [1, 1, 1, 1, 0], [0, 1, 1, 1, 0], [0] * 5]


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        ([[1, 2, 3, 4]], "a polygon of 4 values"),
        ([], "neither polygons nor run lengths"),
        ({"size": [3, 2], "counts": [6]}, r"of size \[3, 2\], the image has \[2, 3\]"),
        ({"size": [2, 3], "counts": [2, -1, 5]}, "a run length of -1"),
        ({"size": [2, 3], "counts": "P"}, "end inside a number"),
        ({"size": [2, 3], "counts": "\n"}, r"character '\\n' in run lengths"),
    ],
)
def test_broken_segmentations(segmentation: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        segmentation_mask(segmentation, 2, 3)

"""Masks as COCO writes them: polygons and run lengths, to boolean arrays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vitfaith.lazy import np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def polygon_mask(points: Sequence[float], height: int, width: int) -> NDArray[np.bool_]:
    """Pixels (height, width) whose centre lies inside a polygon (even-odd rule).

    Args:
        points: x0, y0, x1, y1, … in pixels; pixel (row, column) covers [column, column + 1) × [row, row + 1).
        height: rows of the mask.
        width: columns of the mask.

    Raises:
        ValueError: fewer than three points, or an odd number of values.
    """
    corners = np.asarray(points, np.float64)
    if corners.ndim != 1 or len(corners) < 6 or len(corners) % 2:
        raise ValueError(f"a polygon of {corners.size} values; it takes x and y of three points or more")
    corners = corners.reshape(-1, 2)
    crossings = np.zeros((height, width + 1), np.int64)
    centres = np.arange(height) + 0.5
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        rows = np.flatnonzero((centres >= min(y0, y1)) & (centres < max(y0, y1)))
        x = x0 + (centres[rows] - y0) * (x1 - x0) / (y1 - y0) if len(rows) else np.empty(0)
        np.add.at(crossings, (rows, np.clip(np.ceil(x - 0.5), 0, width).astype(np.int64)), 1)
    return crossings.cumsum(axis=1)[:, :width] % 2 == 1


def run_lengths(text: str) -> Iterator[int]:
    """Run lengths behind COCO's compressed text.

    Each character holds six bits above 48: five of value, lowest first, and one that says another character follows;
    the fifth bit of the last one is the sign. From the fourth number on, the difference to the one two before is stored.

    Raises:
        ValueError: a character that is none, or a text that ends inside a number.
    """
    counts: list[int] = []
    value = shift = 0
    more = False
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64:
            raise ValueError(f"character {character!r} in run lengths")
        value |= (bits & 31) << shift
        shift += 5
        more = bool(bits & 32)
        if not more:
            if bits & 16:
                value -= 1 << shift
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))
            yield counts[-1]
            value = shift = 0
    if more:
        raise ValueError("run lengths that end inside a number")


def run_length_mask(counts: Sequence[int], height: int, width: int) -> NDArray[np.bool_]:
    """The mask (height, width) of run lengths: zeros and ones in turn, column by column, zeros first.

    Raises:
        ValueError: the lengths do not add up to the mask, or one is negative.
    """
    lengths = np.asarray(list(counts), np.int64)
    if (lengths < 0).any():
        raise ValueError(f"a run length of {lengths.min()}")
    if lengths.sum() != height * width:
        raise ValueError(f"run lengths that cover {lengths.sum()} of {height * width} pixels")
    values = np.arange(len(lengths)) % 2 == 1
    return np.repeat(values, lengths).reshape(width, height).T


def segmentation_mask(segmentation: Any, height: int, width: int) -> NDArray[np.bool_]:
    """The mask (height, width) of an annotation's ``segmentation``: polygons, or run lengths in either form.

    Raises:
        ValueError: it is neither, or of another size.
    """
    if isinstance(segmentation, Mapping):
        size, counts = segmentation.get("size"), segmentation.get("counts")
        if size != [height, width]:
            raise ValueError(f"run lengths of size {size}, the image has [{height}, {width}]")
        if isinstance(counts, list):
            return run_length_mask(counts, height, width)
        if isinstance(counts, str):
            return run_length_mask(list(run_lengths(counts)), height, width)
    elif isinstance(segmentation, list) and segmentation and all(isinstance(p, list) for p in segmentation):
        return np.logical_or.reduce([polygon_mask(p, height, width) for p in segmentation])
    raise ValueError("neither polygons nor run lengths")

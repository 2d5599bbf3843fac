"""Grids of coloured cells with exact masks, generated from a seed: the shared part of the tasks on such grids."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from vitfaith.datasets.registry import Source
from vitfaith.errors import did_you_mean
from vitfaith.lazy import np
from vitfaith.registry import Parameters

if TYPE_CHECKING:
    from numpy.typing import NDArray

CORNERS = {
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
    "yellow": (255, 255, 0),
    "cyan": (0, 255, 255),
    "magenta": (255, 0, 255),
    "black": (0, 0, 0),
    "white": (255, 255, 255),
}
"""Corners of the RGB cube by name; the paper's task has all but the last two."""

_HEX = re.compile(r"#[0-9a-fA-F]{6}")


def rgb_of(colour: str) -> tuple[int, int, int]:
    """Red, green and blue in 0 … 255 of a corner's name or of ``#rrggbb``; raises ValueError for any other text."""
    if _HEX.fullmatch(colour):
        return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
    if colour not in CORNERS:
        hint = did_you_mean(colour, CORNERS)
        raise ValueError(f"unknown colour '{colour}'{hint}; name one of {', '.join(CORNERS)}, or write '#rrggbb'")
    return CORNERS[colour]


class CellParameters(Parameters):
    """Size of the grid, and how many grids there are."""

    rows: int = Field(3, ge=1, description="number of rows of the grid")
    columns: int = Field(3, ge=1, description="number of columns of the grid")
    cell: int = Field(
        16, ge=1, description="side of a cell in pixels; masks are exact if it is a multiple of the model's patch"
    )
    grids: int = Field(600, ge=1, description="number of grids; a larger number keeps the first ones")
    split: Literal["train", "validation", "test"] = Field(
        "validation", description="the splits have different grids from the same distribution"
    )
    seed: int = Field(0, description="seed of all grids; a grid depends only on seed, split and its number")

    @property
    def image_ids(self) -> list[str]:
        """Names of all grids."""
        return [f"{self.split}-{i:05d}" for i in range(self.grids)]


def twins(colours: Sequence[str]) -> tuple[str, str] | None:
    """The first of ``colours`` that is the colour of an earlier or another one, and that one; None where all differ.

    Raises:
        ValueError: as :func:`rgb_of`.
    """
    seen: dict[tuple[int, int, int], str] = {}
    for colour in colours:
        twin = seen.setdefault(rgb_of(colour), colour)
        if colour != twin or colours.count(colour) > 1:
            return colour, twin
    return None


def painted(
    parameters: CellParameters,
    colours: Sequence[str],
    labels: NDArray[np.int64],
    cells_of: Callable[[int], NDArray[np.int64]],
    marked: Callable[[NDArray[np.int64]], NDArray[np.bool_]],
    names: Sequence[str],
) -> Source:
    """The images of grids.

    Args:
        colours: of the numbers in a grid.
        labels: (grids,) classes.
        cells_of: number of a grid → (rows, columns) indices into ``colours``.
        marked: those indices → whether a cell belongs to the mask.
        names: of the classes.
    """
    palette = np.array([rgb_of(colour) for colour in colours], np.uint8)

    def pixels(index: int) -> NDArray[np.int64]:
        return cells_of(index).repeat(parameters.cell, 0).repeat(parameters.cell, 1)

    def read(indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        images = [palette[pixels(i)].transpose(2, 0, 1) for i in map(int, indices)]
        size = parameters.rows * parameters.cell, parameters.columns * parameters.cell
        return np.stack(images) if images else np.empty((0, 3, *size), np.uint8)

    def masks(indices: NDArray[np.int64]) -> list[NDArray[np.int8]]:
        return [marked(pixels(i)).astype(np.int8) for i in map(int, indices)]

    return Source(parameters.image_ids, labels, read, masks, names)

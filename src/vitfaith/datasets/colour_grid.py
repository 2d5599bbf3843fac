"""The counting task with known right masks: a grid of coloured cells whose label is how many have one colour."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

from pydantic import Field, field_validator, model_validator

from vitfaith.datasets.registry import DATASETS, Source
from vitfaith.errors import did_you_mean
from vitfaith.lazy import np
from vitfaith.registry import Parameters
from vitfaith.rng import derive_seed

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


class ColourGridParameters(Parameters):
    """Size of the grid, its colours, and how many grids there are."""

    rows: int = Field(3, ge=1, description="cells in a column of the grid")
    columns: int = Field(3, ge=1, description="cells in a row of the grid")
    cell: int = Field(
        16, ge=1, description="side of a cell in pixels; whole patches of the model, so that a mask is exact"
    )
    colours: tuple[str, ...] = Field(
        ("red", "green", "blue", "yellow", "cyan", "magenta"),
        description=f"colours of the cells: {', '.join(CORNERS)}, or '#rrggbb'",
    )
    counted: str = Field("red", description="the colour whose cells are counted")
    grids: int = Field(600, ge=1, description="how many there are; more of them leaves the first ones as they are")
    split: Literal["train", "validation", "test"] = Field(
        "validation", description="splits have other grids, drawn from the same distribution"
    )
    seed: int = Field(0, description="of all grids; with the split and its number it decides a grid completely")

    @field_validator("colours")
    @classmethod
    def _distinct(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        seen: dict[tuple[int, int, int], str] = {}
        for colour in value:
            twin = seen.setdefault(rgb_of(colour), colour)
            if colour != twin or value.count(colour) > 1:
                raise ValueError(f"'{colour}' and '{twin}' are one colour; name each colour once")
        if len(value) < 2:
            raise ValueError("a grid needs two colours or more, one of them counted")
        return value

    @model_validator(mode="after")
    def _counted_is_there(self) -> ColourGridParameters:
        if self.counted not in self.colours:
            raise ValueError(
                f"counted '{self.counted}' is none of the colours {', '.join(self.colours)}; add it to them"
            )
        return self


def draw(parameters: ColourGridParameters, image_id: str) -> NDArray[np.int64]:
    """Index into ``colours`` of every cell (rows, columns); depends on seed and ``image_id`` alone.

    The number of counted cells is uniform on 0 … rows·columns, their places are a permutation's first ones, the other
    cells have the other colours with equal chances.
    """
    cells = parameters.rows * parameters.columns
    source = np.random.default_rng(derive_seed(parameters.seed, image_id, "colour_grid"))
    number = int(source.integers(0, cells + 1))
    counted = parameters.colours.index(parameters.counted)
    others = np.array([i for i in range(len(parameters.colours)) if i != counted], np.int64)
    found = others[source.integers(0, len(others), cells)]
    found[source.permutation(cells)[:number]] = counted
    return found.reshape(parameters.rows, parameters.columns)


@DATASETS.register(
    "colour_grid",
    parameters=ColourGridParameters,
    citation="Nalmpantis et al., Vision DiffMask, CVPR-W 2023, section 3.2",
)
def colour_grid(parameters: ColourGridParameters) -> Source:
    """Grids of coloured cells, made and not read; the label is the number of cells of one colour, 0 … rows × columns.

    The mask has 1 on the counted cells and 0 on the others, pixel by pixel and exact. In a grid with none or only
    counted cells one side of the mask is empty: it is all 0 or all 1, and metrics that need both sides flag it.
    """
    ids = [f"{parameters.split}-{i:05d}" for i in range(parameters.grids)]
    counted = parameters.colours.index(parameters.counted)
    palette = np.array([rgb_of(c) for c in parameters.colours], np.uint8)
    labels = np.array([(draw(parameters, i) == counted).sum() for i in ids], np.int64)

    def pixels(index: int) -> NDArray[np.int64]:
        cells = draw(parameters, ids[index])
        return cells.repeat(parameters.cell, 0).repeat(parameters.cell, 1)

    def read(indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        images = [palette[pixels(i)].transpose(2, 0, 1) for i in map(int, indices)]
        size = parameters.rows * parameters.cell, parameters.columns * parameters.cell
        return np.stack(images) if images else np.empty((0, 3, *size), np.uint8)

    def masks(indices: NDArray[np.int64]) -> list[NDArray[np.int8]]:
        return [(pixels(i) == counted).astype(np.int8) for i in map(int, indices)]

    names = [f"{n} {parameters.counted}" for n in range(parameters.rows * parameters.columns + 1)]
    return Source(ids, labels, read, masks, names)

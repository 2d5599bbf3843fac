"""A task whose right map is one cell: a grid of coloured cells, one of which, at a random place, decides the label."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from vitfaith.datasets.colour_grid import rgb_of
from vitfaith.datasets.registry import DATASETS, Source
from vitfaith.lazy import np
from vitfaith.registry import Parameters
from vitfaith.rng import derive_seed

if TYPE_CHECKING:
    from numpy.typing import NDArray


class PlantedPatchParameters(Parameters):
    """Size of the grid, its colours, and how many grids there are."""

    rows: int = Field(5, ge=1, description="cells in a column of the grid")
    columns: int = Field(5, ge=1, description="cells in a row of the grid")
    cell: int = Field(
        8, ge=1, description="side of a cell in pixels; whole patches of the model, so that a mask is exact"
    )
    planted: tuple[str, ...] = Field(
        ("red", "green", "blue"),
        min_length=2,
        description="colours of the planted cell, one per class; names as in colour_grid",
    )
    others: tuple[str, ...] = Field(
        ("yellow", "cyan", "magenta"),
        min_length=1,
        description="colours of the other cells, whatever the class",
    )
    grids: int = Field(600, ge=1, description="how many there are; more of them leaves the first ones as they are")
    split: Literal["train", "validation", "test"] = Field(
        "validation", description="splits have other grids, drawn from the same distribution"
    )
    seed: int = Field(0, description="of all grids; with the split and its number it decides a grid completely")

    @model_validator(mode="after")
    def _distinct(self) -> PlantedPatchParameters:
        seen: dict[tuple[int, int, int], str] = {}
        for colour in (*self.planted, *self.others):
            twin = seen.setdefault(rgb_of(colour), colour)
            if (*self.planted, *self.others).count(colour) > 1 or twin != colour:
                raise ValueError(
                    f"'{colour}' and '{twin}' are one colour; a colour is planted or another cell's, and once"
                )
        return self


def draw(parameters: PlantedPatchParameters, image_id: str) -> tuple[NDArray[np.int64], int]:
    """Index into ``planted + others`` of every cell (rows, columns), and the planted cell's number in row order.

    Class, place and the other cells are uniform and independent; they depend on seed and ``image_id`` alone.
    """
    cells, classes = parameters.rows * parameters.columns, len(parameters.planted)
    source = np.random.default_rng(derive_seed(parameters.seed, image_id, "planted_patch"))
    label, place = int(source.integers(classes)), int(source.integers(cells))
    found = classes + source.integers(0, len(parameters.others), cells)
    found[place] = label
    return found.reshape(parameters.rows, parameters.columns), place


@DATASETS.register(
    "planted_patch",
    parameters=PlantedPatchParameters,
    citation="Adebayo et al. 2020 (arXiv 2011.05429), whose idea it is: data with a signal at a known place",
)
def planted_patch(parameters: PlantedPatchParameters) -> Source:
    """Grids of coloured cells, made and not read; the colour of one planted cell is the label, its place is random.

    The mask has 1 on the planted cell and 0 on the others, pixel by pixel and exact.
    """
    ids = [f"{parameters.split}-{i:05d}" for i in range(parameters.grids)]
    palette = np.array([rgb_of(c) for c in (*parameters.planted, *parameters.others)], np.uint8)
    drawn = [draw(parameters, name) for name in ids]
    labels = np.array([cells.flat[place] for cells, place in drawn], np.int64)

    def pixels(cells: NDArray[np.int64]) -> NDArray[np.int64]:
        return cells.repeat(parameters.cell, 0).repeat(parameters.cell, 1)

    def read(indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        images = [palette[pixels(drawn[i][0])].transpose(2, 0, 1) for i in map(int, indices)]
        size = parameters.rows * parameters.cell, parameters.columns * parameters.cell
        return np.stack(images) if images else np.empty((0, 3, *size), np.uint8)

    def masks(indices: NDArray[np.int64]) -> list[NDArray[np.int8]]:
        planted = len(parameters.planted)
        return [(pixels(drawn[i][0]) < planted).astype(np.int8) for i in map(int, indices)]

    return Source(ids, labels, read, masks, parameters.planted)

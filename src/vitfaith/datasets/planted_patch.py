"""A task whose right map is one cell: a grid of coloured cells, one of which, at a random place, decides the label."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field, model_validator

from vitfaith.datasets.coloured_cells import CellParameters, painted, twins
from vitfaith.datasets.registry import DATASETS, Source
from vitfaith.lazy import np
from vitfaith.rng import derive_seed

if TYPE_CHECKING:
    from numpy.typing import NDArray


class PlantedPatchParameters(CellParameters):
    """Size of the grid, its colours, and how many grids there are."""

    rows: int = Field(5, ge=1, description="number of rows of the grid")
    columns: int = Field(5, ge=1, description="number of columns of the grid")
    cell: int = Field(
        8, ge=1, description="side of a cell in pixels; masks are exact if it is a multiple of the model's patch"
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

    @model_validator(mode="after")
    def _distinct(self) -> PlantedPatchParameters:
        if (found := twins((*self.planted, *self.others))) is not None:
            raise ValueError(
                f"'{found[0]}' and '{found[1]}' are one colour; a colour is planted or another cell's, and once"
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
    citation="Adebayo et al. 2020 (arXiv 2011.05429): the idea of data with a signal at a known place",
)
def planted_patch(parameters: PlantedPatchParameters) -> Source:
    """Grids of coloured cells, generated from a seed; the colour of one planted cell is the label, its place is random.

    The mask has 1 on the planted cell and 0 on the others, pixel by pixel and exact.
    """
    drawn = [draw(parameters, name) for name in parameters.image_ids]
    labels = np.array([cells.flat[place] for cells, place in drawn], np.int64)
    planted = len(parameters.planted)
    return painted(
        parameters,
        (*parameters.planted, *parameters.others),
        labels,
        lambda i: drawn[i][0],
        lambda cells: cells < planted,
        parameters.planted,
    )

"""The counting task with known right masks: a grid of coloured cells whose label is how many have one colour."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field, field_validator, model_validator

from vitfaith.datasets.coloured_cells import CORNERS, CellParameters, painted, twins
from vitfaith.datasets.registry import DATASETS, Source
from vitfaith.lazy import np
from vitfaith.rng import derive_seed

if TYPE_CHECKING:
    from numpy.typing import NDArray


class ColourGridParameters(CellParameters):
    """Size of the grid, its colours, and how many grids there are."""

    colours: tuple[str, ...] = Field(
        ("red", "green", "blue", "yellow", "cyan", "magenta"),
        description=f"colours of the cells: {', '.join(CORNERS)}, or '#rrggbb'",
    )
    counted: str = Field("red", description="the colour whose cells are counted")

    @field_validator("colours")
    @classmethod
    def _distinct(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if (found := twins(value)) is not None:
            raise ValueError(f"'{found[0]}' and '{found[1]}' are one colour; name each colour once")
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
    """Grids of coloured cells, generated from a seed; the label is the number of cells of one colour, 0 … rows × columns.

    The mask has 1 on the counted cells and 0 on the others, pixel by pixel and exact. In a grid with none or only
    counted cells one side of the mask is empty: it is all 0 or all 1, and metrics that need both sides flag it.
    """
    counted = parameters.colours.index(parameters.counted)
    ids = parameters.image_ids
    labels = np.array([(draw(parameters, i) == counted).sum() for i in ids], np.int64)
    names = [f"{n} {parameters.counted}" for n in range(parameters.rows * parameters.columns + 1)]
    return painted(
        parameters,
        parameters.colours,
        labels,
        lambda i: draw(parameters, ids[i]),
        lambda cells: cells == counted,
        names,
    )

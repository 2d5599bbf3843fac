"""The figure of pairs: each share in its cell, SaCo in the title."""

from __future__ import annotations

import numpy as np

from tests.figures.test_values import CLEAN, panels, pick
from vitfaith.figures.drawing.data import FigureData


def test_pairs_of_groups_stand_in_their_cells(data: FigureData) -> None:
    axes = next(a for t, a in panels("saco_pairs", data).items() if t.startswith("Transformer-MM, vit_patch4"))
    expected = pick(data.pairs, model="vit_patch4", method="transformer_mm", **CLEAN)
    cells = axes.collections[0].get_array().reshape(9, 9)
    for row in expected.itertuples():
        assert cells[row.first - 1, row.second - 2] == row.broken
    assert np.ma.getmaskarray(cells).sum() == 36
    assert f"SaCo {expected.contribution.sum():.2f}" in axes.get_title(loc="left")

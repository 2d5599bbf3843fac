"""The picture of DiffMask's trainings over seeds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from diffmask_curves import draw
from matplotlib.figure import Figure


def log(rise: float) -> pd.DataFrame:
    return pd.DataFrame({"step": [20, 40], "kl": [0.2, 0.1], "kept_share": [0.9, 0.5], "multiplier": [1.0, 1.0 + rise]})


def test_a_seed_has_one_colour_and_a_rule_without_trainings_no_column(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures: list[Any] = []
    saved = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *a, **k: (pictures.append(self), saved(self, *a, **k))[1])
    draw(
        {"ascent": {1: log(1)}, "failed": {}, "descent": {0: log(-1), 1: log(-0.5)}},
        "step",
        "step",
        0.1,
        tmp_path / "curves.png",
    )
    (picture,) = pictures
    assert (tmp_path / "curves.png").stat().st_size > 0
    assert [panel.get_title() for panel in picture.axes[:2]] == ["ascent", "descent"]
    assert len(picture.axes) == 6
    assert {text.get_text() for text in picture.legends[0].get_texts()} == {"seed 0", "seed 1", "margin"}
    first, second = (panel.get_lines() for panel in picture.axes[4:])
    assert list(second[1].get_ydata()) == [1.0, 0.5]
    assert first[0].get_color() == second[1].get_color() != second[0].get_color()

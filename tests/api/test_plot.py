"""Figures of what is in memory show the numbers that they were given."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure
from torch import Tensor

import vitfaith as vf
from tests.api.test_summary import VALUES, scores_of
from vitfaith.models.classifier import Classifier


def test_a_leaderboard() -> None:
    scores = scores_of(VALUES)
    figure = vf.plot.leaderboard(scores)
    assert isinstance(figure, Figure)
    panel = figure.axes[0]
    names = [label.get_text() for label in panel.get_yticklabels()]
    assert len(names) == 4
    shown = [text.get_text() for text in panel.texts]
    assert {"0.740", "0.070", "1 of 10"} <= set(shown)
    board = vf.plot.leaderboard(vf.leaderboard(scores))
    assert [text.get_text() for text in board.axes[0].texts] == shown
    both = pd.concat([scores.assign(attack=a, smoothing="none") for a in ("clean", "pgd")])
    with pytest.raises(
        vf.InputError, match=r"scores are of attack clean, pgd; choose one, such as scores\[scores\.attack"
    ):
        vf.plot.leaderboard(both)
    assert vf.plot.leaderboard(both[both.attack == "pgd"])
    with pytest.raises(vf.ConfigError, match=r"style\.font_siz: unknown key"):
        vf.plot.leaderboard(scores, style={"font_siz": 3})


def test_curves(vit: Classifier, images: Tensor) -> None:
    maps = vf.explain(vit, images, ["attention_rollout", "random"])
    found = vf.evaluate(vit, images, maps, ["deletion_auc", "abpc"])
    figure = vf.plot.curves(found.curves, curve=["morf"])
    line = next(one for one in figure.axes[0].lines if len(one.get_xdata()) > 2)
    means = found.curves[found.curves.curve == "morf"].groupby(["variant", "method", "step"])["probability"].mean()
    drawn = np.asarray(line.get_ydata(), dtype=float)
    assert any(
        len(part) == len(drawn) and np.allclose(part.to_numpy(), drawn, atol=1e-6)
        for _, part in means.groupby(level=["variant", "method"])
    )
    assert len(vf.plot.curves(found.curves).axes) == 2
    assert len(vf.plot.curves(found.curves, curve="lerf").axes) == 1
    with pytest.raises(vf.InputError, match=r"curves lack the column 'curve'; give vitfaith\.evaluate"):
        vf.plot.curves(found.scores)
    with pytest.raises(vf.InputError, match="curves is a Evaluation; give its data frame"):
        vf.plot.curves(found)  # type: ignore[arg-type]
    with pytest.raises(vf.InputError, match="scores is a Evaluation; give its data frame"):
        vf.plot.leaderboard(found)  # type: ignore[arg-type]
    with pytest.raises(vf.InputError, match="curves hold none along a ranking; evaluate a metric that has one"):
        vf.plot.curves(found.curves[found.curves.curve == "groups"])


def test_maps() -> None:
    images, rows = torch.rand(2, 3, 16, 16), torch.rand(2, 4, 4)
    figure = vf.plot.maps(images, {"attention_rollout": rows, "flat": torch.ones(2, 4, 4)}, titles=["a", "b"])
    assert len(figure.axes) == 6
    drawn = figure.axes[1].images[0].get_array()
    expected = (rows[0] - rows[0].min()) / (rows[0].max() - rows[0].min())
    assert np.allclose(np.asarray(drawn), expected.numpy())
    assert figure.axes[2].texts[0].get_text() == "no map"
    assert [panel.get_title(loc="left") for panel in figure.axes[:2]] == ["image", "Rollout"]
    assert len(vf.plot.maps(images, {"mine": rows}, overlay=0.4).axes[1].images) == 2
    with pytest.raises(vf.InputError, match="give 2 maps of each method"):
        vf.plot.maps(images, {"mine": rows[:1]})
    with pytest.raises(vf.InputError, match="images hold no image; give at least one"):
        vf.plot.maps(images[:0], {"mine": rows[:0]})
    with pytest.raises(vf.InputError, match="give 1 or 3 channels"):
        vf.plot.maps(torch.rand(2, 4, 8, 8), {"mine": rows})

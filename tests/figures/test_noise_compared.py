"""The figure of several laws of noise draws what the tables say: largest radius, right class, one norm a panel."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

from tests.figures.score_tables import IMAGES
from tests.figures.test_figures import draw
from vitfaith.errors import ConfigError
from vitfaith.figures.drawing.data import FigureData
from vitfaith.figures.noise_compared import NoiseCompared, rows


@pytest.fixture(scope="module")
def noisy(data: FigureData) -> FigureData:
    """The smoothing dds_0.25 has Laplace noise: its radii are l1 ones, divided by √d = 28 in l2; a second certificate beside it."""
    assert data.certificates is not None
    table = data.certificates.copy()
    other = table["smoothing"] == "dds_0.25"
    table.loc[other, "noise"] = "laplace"
    table.loc[other, ["radius", "linf"]] /= 28
    second = table[table["method"] != ""].assign(certificate="renyi")
    second[["radius", "l1", "linf"]] = second[["radius", "l1", "linf"]].sample(frac=1, random_state=3).to_numpy()
    unsound = table[table["method"] != ""].assign(certificate="paper_closed_form", sound=False)
    unsound[["radius", "l1", "linf"]] *= 100
    return dataclasses.replace(data, certificates=pd.concat([table, second, unsound], ignore_index=True))


SETTINGS = NoiseCompared(models=("vit_patch4",), methods=("rollout",), k=10, beta=0.8)
COLUMN = {"l1": "l1", "l2": "radius", "l∞": "linf"}


@pytest.mark.parametrize("panel", COLUMN)
def test_maps_have_the_largest_radius_of_the_guarantees(noisy: FigureData, panel: str) -> None:
    assert noisy.certificates is not None
    own = noisy.certificates.query(
        "model == 'vit_patch4' and method == 'rollout' and k == 10 and beta == 0.8 and sound"
    )
    drawn = rows(noisy, SETTINGS).query("part == 'map' and panel == @panel")
    assert sorted(set(drawn["smoothing"])) == ["dds_0.12", "dds_0.25"]
    for row in drawn.itertuples():
        mine = own[own["smoothing"] == row.smoothing]
        best = mine.groupby("image_id")[COLUMN[panel]].max()
        assert row.mean == pytest.approx((best > row.at).sum() / IMAGES)
        assert row.noise == ("laplace" if row.smoothing == "dds_0.25" else "gaussian")
        assert row.low - 1e-12 <= row.mean <= row.high


def test_predictions_need_the_right_class(noisy: FigureData) -> None:
    assert noisy.certificates is not None
    own = noisy.certificates.query("model == 'vit_patch4' and method == '' and smoothing == 'dds_0.12'")
    drawn = rows(noisy, SETTINGS).query("part == 'prediction' and panel == 'l2' and smoothing == 'dds_0.12'")
    for at, mean in zip(drawn["at"], drawn["mean"], strict=True):
        assert mean == pytest.approx(((own.prediction == own.label) & (own.radius > at)).mean())


def test_values_under_attack_are_those_of_the_summary(noisy: FigureData) -> None:
    assert noisy.summary is not None
    drawn = rows(noisy, SETTINGS).query("part == 'map' and panel == 'attacked' and smoothing == 'dds'")
    wanted = "model == 'vit_patch4' and method == 'rollout' and metric == 'top_k_overlap' and variant == 'k=0.2' "
    table = noisy.summary.query(wanted + "and reference == 'clean' and smoothing == 'dds'").set_index("attack")
    assert len(drawn)
    for row in drawn.itertuples():
        assert (row.mean, row.low, row.high) == tuple(table.loc[row.attack, ["mean", "low", "high"]])
    accuracy = rows(noisy, SETTINGS).query(
        "part == 'prediction' and panel == 'attacked' and at == 0 and smoothing == 'none'"
    )
    assert noisy.predictions is not None
    clean = noisy.predictions.query("model == 'vit_patch4' and attack == 'clean' and smoothing == 'none'")
    assert accuracy["mean"].iloc[0] == pytest.approx((clean.prediction == clean.label).mean())


def test_what_the_panels_say(noisy: FigureData) -> None:
    axes = draw("noise_compared", noisy, models=["vit_patch4"], methods=["rollout"]).axes
    titles = [a.get_title(loc="left").replace("\n", " ") for a in axes]
    assert [t.split(" (")[0] for t in titles] == [
        *["certified accuracy"] * 3,
        "accuracy under attack",
        *["certified top-k overlap"] * 3,
        "top-k overlap under attack",
    ]
    assert all("n = 64" in t for t in titles)
    assert [a.get_xlabel() for a in axes[:3]] == [f"certified {norm} radius" for norm in ("l1", "l2", "l∞")]
    labels = ["share of images", "", "", "share of images", "share of images", "", "", "mean overlap, Rollout"]
    assert [a.get_ylabel() for a in axes] == labels
    looks = {(str(line.get_color()), str(line.get_linestyle())) for line in axes[0].lines}
    assert len(looks) == 2


def test_settings_that_fit_nothing_are_named(noisy: FigureData) -> None:
    with pytest.raises(ConfigError, match=r"no k = 7; there is 5, 10"):
        rows(noisy, NoiseCompared(k=7))
    with pytest.raises(ConfigError, match="no guarantee for these settings"):
        rows(noisy, NoiseCompared(certificates=("paper_closed_form",)))
    with pytest.raises(ConfigError, match="no method 'rolout'"):
        rows(noisy, NoiseCompared(methods=("rolout",)))
    assert noisy.certificates is not None
    alone = dataclasses.replace(noisy, certificates=noisy.certificates[noisy.certificates["method"] == ""])
    with pytest.raises(ConfigError, match="no certificate of a map"):
        rows(alone, NoiseCompared())
    assert np.isfinite(rows(noisy, NoiseCompared())["at"]).all()

"""The figure of orders compares what it says, with the statistics of the package."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

from tests.figures.test_figures import draw
from vitfaith.errors import ConfigError
from vitfaith.figures.drawing.data import FigureData
from vitfaith.figures.order_agreement import OWN, OrderAgreement, _choices, rows
from vitfaith.statistics.orders import order_agreement

METHODS, IMAGES = ("a", "b", "c", "d"), 12
MEANS = {
    ("m_black", "net"): (0, 1, 2, 3), ("m_blur", "net"): (3, 2, 1, 0),
    ("m_black", "own_black"): (0, 1, 2, 3), ("m_blur", "own_black"): (0, 1, 2, 3),
    ("m_black", "own_blur"): (9, 8, 7, 6), ("m_blur", "own_blur"): (0, 1, 3, 2),
}  # fmt: skip
"""Metric and model → mean of each method; the noise over images is much smaller than their distances."""

HIGHER = {"m_black": "higher", "m_blur": "higher"}
SETTINGS = OrderAgreement(
    groups={"m": ("m_black", "m_blur")},
    own={"m_black": "own_black", "m_blur": "own_blur"},
    directions=HIGHER,
    resamples=50,
)


@pytest.fixture
def scores(data: FigureData) -> FigureData:
    place = dict.fromkeys(("dataset", "attack", "smoothing", "explained", "variant"), "")
    place |= {"dataset": "d", "attack": "clean", "smoothing": "none", "explained": "prediction"}
    draws = np.random.default_rng(0)
    parts = [
        pd.DataFrame(
            {"image_id": [f"i{i:02d}" for i in range(IMAGES)], "value": draws.normal(mean, 0.1, IMAGES)}
        ).assign(**place, metric=metric, model=model, method=method)
        for (metric, model), means in MEANS.items()
        for method, mean in zip(METHODS, means, strict=True)
    ]
    return dataclasses.replace(data, scores=pd.concat(parts, ignore_index=True))


def test_each_comparison_is_that_of_its_two_orders(scores: FigureData) -> None:
    table = rows(scores, SETTINGS).set_index(["group", "what"])
    found = {key: round(float(row["tau"]), 3) for key, row in table.iterrows()}
    assert found == {
        ("on net", "black / blur"): -1,
        (OWN, "black / blur"): 0.667,  # one of six pairs is the other way round
        ("net / own network", "black"): 1,
        ("net / own network", "blur"): -0.667,
    }
    assert set(table["n"]) == {IMAGES}
    assert set(table["methods"]) == {len(METHODS)}
    assert (table["low"] <= table["tau"]).all()
    assert (table["tau"] <= table["high"]).all()


def test_without_own_networks_and_groups_all_are_compared(scores: FigureData) -> None:
    """A metric of which less is better is turned round first."""
    asked = OrderAgreement(models=("net", "own_black"), directions={**HIGHER, "m_blur": "lower"}, resamples=20)
    table = rows(scores, asked).set_index(["group", "what"])
    assert {key: float(tau) for key, tau in table["tau"].items()} == {
        ("on net", "black / blur"): 1,
        ("on own_black", "black / blur"): -1,
        ("net / own_black", "black"): 1,
        ("net / own_black", "blur"): -1,
    }


def test_images_and_clusters_go_to_the_statistics(scores: FigureData) -> None:
    """An image without a score in one reading is left out of all, and clusters are resampled whole."""
    assert scores.scores is not None
    frame = scores.scores.assign(cluster=scores.scores["image_id"].str[1])  # two clusters
    one = (
        (frame["metric"] == "m_blur")
        & (frame["model"] == "net")
        & (frame["method"] == "a")
        & (frame["image_id"] == "i03")
    )
    frame.loc[one, "value"] = np.nan
    row = rows(dataclasses.replace(scores, scores=frame), SETTINGS).set_index("group").loc["on net"]
    kept = frame[frame["image_id"] != "i03"]
    pivot = {
        metric: kept[(kept["metric"] == metric) & (kept["model"] == "net")].pivot(
            index="image_id", columns="method", values="value"
        )
        for metric in ("m_black", "m_blur")
    }
    codes = np.array([int(name[1]) for name in pivot["m_black"].index])
    expected = order_agreement(pivot["m_black"].to_numpy(), pivot["m_blur"].to_numpy(), codes=codes, resamples=50)
    assert (row["tau"], row["low"], row["high"]) == expected
    assert row["n"] == IMAGES - 1


def test_what_the_picture_says(scores: FigureData) -> None:
    picture = draw("order_agreement", scores, groups=SETTINGS.groups, own=SETTINGS.own, directions=HIGHER, resamples=20)
    (panel,) = picture.axes
    assert [text.get_text().lower() for text in panel.get_yticklabels()] == [
        "blur",
        "black",
        "black / blur",
        "black / blur",
    ]
    assert len(picture.legends[0].get_texts()) == 3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"models": ("net",), "directions": {"m_black": "none", "m_blur": "higher"}}, "one metric on one model"),
        ({"own": {"m_black": "nowhere"}}, "no model 'nowhere'"),
        ({"groups": {"m": ("m_black", "m_blr")}}, "did you mean .m_blur."),
    ],
)
def test_refused(scores: FigureData, settings: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        rows(scores, OrderAgreement(**{"directions": HIGHER, **settings}))


def test_the_words_that_ids_share_are_left_out() -> None:
    assert _choices(["saco_image_mean", "saco_blur"]) == {"saco_image_mean": "image_mean", "saco_blur": "blur"}
    assert _choices(["saco", "saco_blur"]) == {"saco": "saco", "saco_blur": "saco_blur"}
    assert _choices(["saco_rank"]) == {"saco_rank": "saco_rank"}

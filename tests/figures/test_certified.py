"""Figures over the radius of attacks and of certificates draw what the tables say; their tables are counted by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes

from tests.figures.score_tables import IMAGES
from tests.figures.test_figures import draw
from tests.figures.test_values import bars
from vitfaith.errors import ConfigError
from vitfaith.figures.drawing.data import FigureData
from vitfaith.tables.attacks import attack_kind
from vitfaith.tables.certified import certified_summary

CELL = {"dataset": "fashion_mnist", "model": "vit_patch4"}


def panel(name: str, data: FigureData, start: str, **parameters: object) -> Axes:
    axes = draw(name, data, **parameters).axes
    return next(a for a in axes if a.get_title(loc="left").replace("\n", " ").startswith(start))


def points_of(axes: Axes, label: str) -> dict[float, float]:
    """Radius in levels → mean, of the series with this label."""
    container = next(c for c in bars(axes) if c.get_label() == label)
    x, y = container.lines[0].get_data()
    return {float(np.round(a)): float(b) for a, b in zip(x, y, strict=True)}


def mean_of(data: FigureData, attack: str, smoothing: str, reference: str, metric: str, variant: str) -> float:
    table = data.summary
    assert table is not None
    wanted = {**CELL, "attack": attack, "smoothing": smoothing, "method": "rollout"}
    wanted |= {"reference": reference, "metric": metric, "variant": variant}
    for column, value in wanted.items():
        table = table[table[column] == value]
    return float(table["mean"].iloc[0])


def test_metric_by_radius_draws_the_means_and_gives_the_clean_image_to_every_kind(data: FigureData) -> None:
    axes = panel("metric_by_radius", data, "Rollout", models=["vit_patch4"])
    for attack, label, radius in (("pgd", "DDS · PGD", 8), ("fgsm", "DDS · FGSM", 4)):
        drawn = points_of(axes, label)
        assert drawn[radius] == mean_of(data, attack, "dds", "", "saco", "k=10")
        assert drawn[0] == mean_of(data, "clean", "dds", "", "saco", "k=10")
    np.testing.assert_allclose(axes.get_xticks(), [0, 4, 8], rtol=1e-3)
    overlap = panel(
        "metric_by_radius",
        data,
        "Rollout",
        metric="top_k_overlap",
        reference="clean",
        kinds=["pgd"],
        models=["vit_patch4"],
    )
    assert points_of(overlap, "DDS") == {8.0: mean_of(data, "pgd", "dds", "clean", "top_k_overlap", "k=0.2")}


def test_accuracy_by_radius_counts_the_predictions(data: FigureData) -> None:
    axes = panel("accuracy_by_radius", data, "vit_patch4", kinds=["pgd"])
    rows = data.predictions
    assert rows is not None
    for attack, radius in (("clean", 0.0), ("pgd", 8.0)):
        part = rows[(rows.model == "vit_patch4") & (rows.attack == attack) & (rows.smoothing == "none")]
        assert points_of(axes, "no smoothing")[radius] == pytest.approx((part.prediction == part.label).mean())


def test_radii_of_another_norm_or_kind_are_asked_for_by_name(data: FigureData) -> None:
    with pytest.raises(ConfigError, match="no attack with a radius in l2; set norm, kinds or attacks"):
        draw("accuracy_by_radius", data, norm="l2")
    with pytest.raises(ConfigError, match="has no kind 'apgd' in linf; there is fgsm, pgd"):
        draw("accuracy_by_radius", data, kinds=["apgd"])


def test_certified_shares_are_counted_above_each_radius(data: FigureData) -> None:
    settings = {"models": ["vit_patch4"], "k": 10, "beta": 0.8}
    axes = panel("certified_top_k", data, "Attention Grad-CAM", **settings)
    table = data.certificates
    assert table is not None
    part = table[
        (table.model == "vit_patch4") & (table.method == "attention_gradcam") & (table.smoothing == "dds_0.25")
    ]
    radius = part[(part.k == 10) & (part.beta == 0.8)].radius.to_numpy()
    line = next(item for item in axes.lines if str(item.get_label()).startswith("dds_0.25"))
    for x, y in zip(*line.get_data(), strict=True):
        assert y == pytest.approx(sum(r > x for r in radius) / IMAGES)  # NaN radii count as not certified
    assert "n = 61" in axes.get_title(loc="left")


def test_certified_accuracy_needs_the_right_class(data: FigureData) -> None:
    axes = panel("certified_accuracy", data, "vit_patch4")
    table = data.certificates
    assert table is not None
    part = table[(table.model == "vit_patch4") & (table.method == "") & (table.smoothing == "dds_0.12")]
    line = next(item for item in axes.lines if str(item.get_label()).startswith("dds_0.12"))
    for x, y in zip(*line.get_data(), strict=True):
        assert y == pytest.approx(
            np.mean([(p == t) and r > x for p, t, r in zip(part.prediction, part.label, part.radius, strict=True)])
        )


def test_what_guarantees_nothing_is_dashed_and_says_so(data: FigureData) -> None:
    assert data.certificates is not None
    other = data.certificates[data.certificates.method != ""].assign(certificate="paper_closed_form", sound=False)
    both = dataclasses.replace(data, certificates=pd.concat([data.certificates, other]))
    axes = panel(
        "certified_top_k", both, "Rollout", series="certificate", smoothings=["dds_0.25"], models=["vit_patch4"]
    )
    dashed = {str(line.get_label()): line.get_linestyle() for line in axes.lines}
    assert dashed == {"sums of entries (Lipschitz)": "-", "Rényi, closed form (no guarantee)": "--"}
    with pytest.raises(ConfigError, match=r"several values of certificate \(grouped, paper_closed_form\); name one"):
        draw("certified_top_k", both)
    with pytest.raises(ConfigError, match=r"has no k = 7; there is 5, 10"):
        draw("certified_top_k", data, k=7)


def test_summary_of_certificates_by_hand() -> None:
    shared = {
        "dataset": "d",
        "model": "m",
        "attack": "clean",
        "smoothing": "s",
        "explained": "clean_prediction",
        "base": "vote",
        "bound": "b",
    }
    shared |= {"k": 5, "beta": 0.8, "sigma": 0.1, "alpha": 0.001, "selection": 10, "samples": 90, "sound": True}
    maps = pd.DataFrame({"radius": [0.0, 0.2, 0.4, np.nan], "prediction": np.nan, "label": np.nan, "limit": ""})
    joint = pd.DataFrame(
        {"radius": [0.0, 0.2, 0.4], "prediction": [-1, 3, 2], "label": [1, 3, 1], "limit": ["prediction", "map", "map"]}
    )
    rows = pd.concat(
        [
            maps.assign(**shared, method="a", certificate="grouped"),
            joint.assign(**shared, method="a", certificate="joint"),
        ]
    )
    rows = rows.assign(image_id=[f"i{i}" for i in rows.index])
    first, second = (certified_summary(rows).set_index("certificate").loc[c] for c in ("grouped", "joint"))
    assert (first.n, first.flagged, first.certified, first["median"], first.largest) == (3, 1, 0.5, 0.2, 0.4)
    assert first["mean"] == pytest.approx(0.2)
    assert np.isnan(first.accurate)
    assert np.isnan(first.limited_by_map)
    assert (second.accurate, second.limited_by_map) == (pytest.approx(1 / 3), pytest.approx(2 / 3))
    assert second.mean_if_accurate == pytest.approx(0.2 / 3)
    assert certified_summary(rows.iloc[:0]).empty


@pytest.mark.parametrize(
    ("spec", "kind", "aims_at", "norm", "eps"),
    [
        ({"use": "clean"}, "clean", "prediction", "linf", 0.0),
        ({"use": "pgd", "eps": 0.02}, "pgd", "prediction", "linf", 0.02),
        ({"use": "torchattacks", "name": "PGDL2", "arguments": {"eps": 0.7}}, "PGDL2", "prediction", "l2", 0.7),
        ({"use": "cw"}, "cw", "prediction", "", np.nan),
        (
            {"use": "adaptive_pgd", "through": "dds", "eps": 0.01},
            "adaptive_pgd",
            "smoothed_prediction",
            "linf",
            0.01,
        ),
        (
            {"use": "adaptive_pgd", "through": "dds", "eps": 0.01, "gradient": "bpda"},
            "adaptive_pgd_bpda",
            "smoothed_prediction",
            "linf",
            0.01,
        ),
        ({"use": "top_k_attack", "eps": 0.01}, "top_k_attack", "explanation", "linf", 0.01),
        (
            {"use": "top_k_attack", "eps": 0.01, "through": "dds"},
            "top_k_attack_through_smoothing",
            "explanation",
            "linf",
            0.01,
        ),
    ],
)
def test_kind_and_radius_of_an_attack(spec: dict[str, object], kind: str, aims_at: str, norm: str, eps: float) -> None:
    found = attack_kind(spec)
    assert (found["kind"], found["aims_at"], found["norm"]) == (kind, aims_at, norm)
    np.testing.assert_equal(found["eps"], eps)

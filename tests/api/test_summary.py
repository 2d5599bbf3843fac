"""Means, ranks and tests of scores in memory; maps compared; certificates; results read back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from scipy import stats
from torch import Tensor

import vitfaith as vf
from tests.conftest import tiny_vit
from vitfaith.artifacts.schemas import SCORES
from vitfaith.artifacts.store import write_parquet, write_table
from vitfaith.models.classifier import Classifier
from vitfaith.statistics.paired import holm

DENOISER = Path(__file__).parents[2] / "resources" / "denoisers" / "fashion_mnist"


def scores_of(values: dict[str, list[float]], metric: str = "saco", **columns: str) -> pd.DataFrame:
    rows = [
        {
            "image_id": f"image-{i}",
            "method": method,
            "metric": metric,
            "variant": "",
            "value": value,
            "flag": "",
            **columns,
        }
        for method, some in values.items()
        for i, value in enumerate(some)
    ]
    return pd.DataFrame(rows)


VALUES = {
    "good": [0.9, 0.8, 0.7, 0.9, 0.6, 0.7, 0.8, 0.9, 0.5, 0.6],
    "same": [0.8, 0.9, 0.7, 0.9, 0.6, 0.7, 0.8, 0.9, 0.5, 0.6],
    "random": [0.1, 0.2, -0.1, 0.0, 0.3, 0.1, 0.2, 0.0, -0.2, 0.1],
    "sparse": [1.0, *[float("nan")] * 9],
}


def test_ranks_means_and_tests() -> None:
    board = vf.leaderboard(scores_of(VALUES)).set_index("method")
    assert list(board.index) == ["good", "same", "random", "sparse"]
    assert board["rank"].tolist()[:3] == [1, 1, 3]
    assert pd.isna(board.loc["sparse", "rank"])
    assert not board.loc["sparse", "compared"]
    assert board.loc["good", "mean"] == pytest.approx(0.74)
    assert (board.loc["good", "n"], board.loc["sparse", "n"], board.loc["sparse", "flagged"]) == (10, 0, 9)
    assert board.loc["good", "low"] < 0.74 < board.loc["good", "high"]
    p = [stats.wilcoxon(np.subtract(VALUES[m], VALUES["random"])).pvalue for m in ("good", "same")]
    assert board.loc[["good", "same"], "p"].tolist() == pytest.approx(list(holm(p)))
    assert pd.isna(board.loc["random", "p"])


def test_smaller_can_be_better_and_conditions_are_apart() -> None:
    both = pd.concat([scores_of(VALUES, "deletion_auc", attack=a) for a in ("clean", "pgd")])
    board = vf.leaderboard(both, resamples=100)
    assert board["attack"].tolist() == ["clean"] * 4 + ["pgd"] * 4
    assert board["method"].tolist()[0] == "random"
    with pytest.raises(vf.InputError, match="two rows for method"):
        vf.leaderboard(both, by=[])
    with pytest.raises(vf.InputError, match="scores lack the column 'smoothing'"):
        vf.leaderboard(both, by=["smoothing"])
    own = scores_of(VALUES, "mine")
    with pytest.raises(vf.InputError, match=r"metric 'mine' is your own id; give directions="):
        vf.leaderboard(own)
    assert vf.leaderboard(own, directions={"mine": "lower"}, resamples=100)["method"][0] == "random"
    assert vf.leaderboard(own, directions={"mine": "none"}, resamples=100)["rank"].isna().all()
    one, several = (vf.leaderboard(both, by=by, resamples=100) for by in ("attack", ["attack"]))
    pd.testing.assert_frame_equal(one, several)
    with pytest.raises(vf.InputError, match="directions: 'mine' is 'up'; give 'higher', 'lower' or 'none'"):
        vf.leaderboard(own, directions={"mine": "up"})  # type: ignore[dict-item]
    with pytest.raises(vf.InputError, match="directions is 'higher'; give"):
        vf.leaderboard(own, directions="higher")  # type: ignore[arg-type]
    with pytest.raises(vf.InputError, match="scores is a list; give its data frame"):
        vf.leaderboard([own])  # type: ignore[arg-type]


def test_maps_are_compared() -> None:
    one = torch.rand(3, 4, 4)
    maps = vf.Maps(
        {"a": one, "flat": torch.ones(3, 4, 4), "b": one}, target=torch.tensor([0, 1, 2]), image_ids=list("xyz")
    )
    other = vf.Maps({"a": 1 - one, "flat": one}, target=torch.tensor([0, 1, 0]), image_ids=list("xyz"))
    table = vf.compare_maps(maps, other, {"rho": "spearman", "cos": "cosine"})
    assert list(table.columns) == ["image_id", "method", "metric", "variant", "value", "flag"]
    rho = table[(table.metric == "rho") & (table.method == "a")]
    assert rho["value"].tolist()[:2] == pytest.approx([-1, -1])
    assert rho["flag"].tolist() == ["", "", "other class"]
    assert np.isnan(rho["value"].tolist()[2])
    assert table[table.method == "flat"]["flag"].tolist() == ["constant"] * 6
    maps.explainers = {"a": "saliency", "b": "raw_attention"}
    other["b"] = 1 - one
    other.explainers = {"a": "saliency", "b": "raw_attention"}
    flags = vf.compare_maps(maps, other, "spearman").groupby("method")["flag"].apply(list)
    assert flags["a"] == ["", "", "other class"]
    assert flags["b"] == ["", "", ""]  # its maps are the same for every class
    assert set(table["method"]) == {"a", "flat"}
    plain = vf.compare_maps({"a": one}, {"a": one}, "spearman")
    assert plain["image_id"].tolist() == ["0", "1", "2"]
    named = vf.compare_maps({"a": one}, {"a": one}, "spearman", image_ids=torch.arange(3))  # type: ignore[arg-type]
    assert named["image_id"].tolist() == ["0", "1", "2"]
    for wrong in (["a", "a", "b"], ["a", "b"]):
        with pytest.raises(vf.InputError, match="image_ids hold 2 different names; give one for each of 3 images"):
            vf.compare_maps({"a": one}, {"a": one}, "spearman", image_ids=wrong)
    with pytest.raises(vf.InputError, match="no method in common"):
        vf.compare_maps({"a": one}, {"b": one}, "spearman")
    for no_map in (None, one * 1j):
        with pytest.raises(vf.InputError, match=r"maps\['a'\] is .*; give"):
            vf.compare_maps({"a": one}, {"a": no_map}, "spearman")  # type: ignore[dict-item]
    other.image_ids = list("xyw")
    with pytest.raises(vf.InputError, match="of other images"):
        vf.compare_maps(maps, other, "spearman")


@pytest.fixture(scope="module")
def smoothed() -> vf.Smoothed:
    classifier: Classifier = tiny_vit(img_size=28, in_chans=1)
    model = vf.wrap(classifier.backbone, mean=[0.5], std=[0.25])
    pixels = torch.rand(2, 1, 28, 28, generator=torch.Generator().manual_seed(1))
    denoiser = vf.load_denoiser(DENOISER)
    return vf.smooth(model, pixels, "dds", denoiser=denoiser, sigma=0.25, samples=40, seed=3)


def test_certified_predictions_follow_the_formula(smoothed: vf.Smoothed) -> None:
    table = vf.certify(smoothed, ("cohen", {"selection": 10, "alpha": 0.01}))
    votes = np.stack(smoothed.predict()["sample_predictions"])
    for row, classes in zip(table.itertuples(), votes, strict=True):
        chosen = np.bincount(classes[:10]).argmax()
        count = int((classes[10:] == chosen).sum())
        low = stats.beta.ppf(0.01, count, 31 - count) if count else 0
        assert row.radius == pytest.approx(max(0, 0.25 * stats.norm.ppf(low)) if low > 0.5 else 0)


def test_maps_are_certified(smoothed: vf.Smoothed) -> None:
    grouped = ("grouped", {"k": [20], "beta": 0.5, "selection": 10, "alpha": 0.2})
    table = vf.certify(smoothed, [("cohen", {"selection": 10}), grouped], explainers=["attention_rollout"])
    assert table.groupby(["certificate", "method"]).size().to_dict() == {
        ("cohen", ""): 2,
        ("grouped", "attention_rollout"): 2,
    }
    assert set(table[table.certificate == "grouped"]["k"]) == {20}
    with pytest.raises(vf.ConfigError, match="samples, 100 of them for selection"):
        vf.certify(smoothed, "cohen")


def test_certificates_behind_other_noise(smoothed: vf.Smoothed) -> None:
    """R₁ = 2λ(p̲ − ½), stored as R₁/√d; and what does not hold is refused."""
    pixels = torch.rand(2, 1, 28, 28, generator=torch.Generator().manual_seed(1))
    settings = {"denoiser": vf.load_denoiser(DENOISER), "sigma": 0.25, "samples": 40, "seed": 3}
    flat = vf.smooth(smoothed.model, pixels, "dds", noise="uniform", **settings)
    table = vf.certify(flat, ("cohen", {"selection": 10, "alpha": 0.01}))
    for row in table.itertuples():
        expected = max(0.0, 2 * 0.25 * 3**0.5 * (row.inside - 0.5)) / 28 if row.inside >= 0.5 else 0
        assert row.radius == pytest.approx(expected)
        assert row.linf == pytest.approx(row.radius / 28)
    with pytest.raises(vf.ConfigError, match="certificate 'renyi_prediction' holds behind gaussian or laplace noise"):
        vf.certify(flat, ("renyi_prediction", {"selection": 10}))
    with pytest.raises(vf.ConfigError, match="certificate 'faithfulness' holds behind gaussian noise"):
        vf.certify(flat, ("faithfulness", {"k": 5, "selection": 10}), explainers="attention_rollout")


def test_no_certificate_stands_on_some_smoothings(images: Tensor, vit: Classifier) -> None:
    with pytest.raises(vf.ConfigError, match="no certificate stands on smoothing 'none'"):
        vf.certify(vf.smooth(vit, images, "none"), "cohen")


def test_results_are_read_back(tmp_path: Path) -> None:
    frame = scores_of({"a": [1.0, 2.0], "b": [3.0, float("nan")]})
    for attack, explained in (("clean", "clean_prediction"), ("pgd", "clean_prediction"), ("clean", "class_0")):
        condition = f"dataset=d/model=007/attack={attack}/smoothing=none/explained={explained}"
        folder = tmp_path / "scores" / condition / "family=one_pass"
        write_table(pa.Table.from_pydict(frame.to_dict("list")), folder / "shard-000.parquet", SCORES, {})
    for name in ("one", "two"):
        write_parquet(
            pa.table({"method": ["a"], "mean": [1.0]}), tmp_path / f"tables/experiment={name}/summary.parquet"
        )
    found = vf.read(tmp_path, explained="clean_prediction")
    assert len(found) == 8
    assert set(found["model"]) == {"007"}
    assert found["attack"].tolist() == ["clean"] * 4 + ["pgd"] * 4
    assert vf.read(tmp_path, attack="pgd", method=["a"])["value"].tolist() == [1, 2]
    for where, message in (
        ({"attack": "pdg"}, r"table 'scores' has no attack 'pdg' \(did you mean 'pgd'\?\); there are clean, pgd"),
        ({"attack": ["pgd", "fgsm"]}, "has no attack 'fgsm'"),
        ({"explained": "prediciton"}, "has no explained 'prediciton'.* there are class_0, clean_prediction"),
        ({"method": "c"}, "has no method 'c'; there are a, b"),
    ):
        with pytest.raises(vf.InputError, match=message):
            vf.read(tmp_path, **where)
    with pytest.raises(vf.InputError, match="table 'summary' has no experiment 'three'; there are one, two"):
        vf.read(tmp_path, "summary", experiment="three")
    assert vf.read(tmp_path, explained=0).equals(vf.read(tmp_path, explained="class_0"))
    assert len(vf.read(tmp_path, explained=0)) == 4
    assert vf.read(tmp_path, attack="pgd", explained=0).empty
    assert vf.read(tmp_path, flag="nan").empty
    assert vf.read(tmp_path, "summary", experiment="two")["mean"].tolist() == [1]
    with pytest.raises(vf.InputError, match="of one, two; choose one with experiment="):
        vf.read(tmp_path, "summary")
    with pytest.raises(vf.InputError, match=r"no table 'score' \(did you mean 'scores'\?\); it has scores, summary"):
        vf.read(tmp_path, "score")
    with pytest.raises(vf.InputError, match=r"table 'scores' has no column 'methods' \(did you mean 'method'\?\)"):
        vf.read(tmp_path, methods="a")


def test_seeds_and_maps_of_no_numbers_are_refused() -> None:
    with pytest.raises(vf.InputError, match="seed is 'a'; give a whole number"):
        vf.leaderboard(scores_of({"a": [0.1, 0.2]}), seed="a")  # type: ignore[arg-type]
    with pytest.raises(vf.InputError, match=r"maps\['a'\] is None; give a tensor"):
        vf.compare_maps({"a": None}, {"a": None}, "cosine")  # type: ignore[dict-item]
    with pytest.raises(vf.InputError, match="model is empty text"):
        vf.wrap("")


def test_maps_of_numpy_are_drawn() -> None:
    figure = vf.plot.maps(torch.rand(1, 3, 8, 8), {"a": np.random.default_rng(0).random((1, 2, 2))})  # type: ignore[dict-item]
    assert len(figure.axes) == 2


def test_scores_name_the_explained_class() -> None:
    model, images = tiny_vit(), torch.rand(3, 3, 16, 16)
    scores = vf.score(model, images, vf.explain(model, images, "random", target=torch.tensor([4, 0, 2])), "entropy")
    assert list(scores.columns) == ["image_id", "method", "metric", "variant", "value", "flag", "target"]
    assert scores["target"].tolist() == [4, 0, 2]

"""From stored per-sample maps and predictions to the table of certificates, without a network."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from vitfaith.artifacts.images import encode_images
from vitfaith.artifacts.schemas import CERTIFICATES, CERTIFIED_MAPS, IMAGES, SMOOTHED_PREDICTIONS
from vitfaith.artifacts.store import read_provenance, read_table, write_table
from vitfaith.certificates.of_maps import certify_maps
from vitfaith.certificates.radii.cohen import certify
from vitfaith.certificates.radii.faithfulness import faithfulness
from vitfaith.certificates.settings import CertificateParameters
from vitfaith.errors import ArtifactError, ConfigError
from vitfaith.stages.certify import run_certify

IDS, N, SAMPLES, CLASSES, SIGMA = ["a", "b", "c"], 9, 400, 4, 0.25


def draws() -> tuple[np.ndarray, np.ndarray]:
    """Maps (B, S, n) and classes (B, S); image c is undecided in both."""
    rng = np.random.default_rng(0)
    maps = np.exp(np.linspace(3, 0, N) + 0.5 * rng.normal(size=(3, SAMPLES, N))).astype(np.float32)
    maps[2] = rng.random((SAMPLES, N))
    classes = np.where(rng.random((3, SAMPLES)) < 0.95, [[1], [3], [0]], 2)
    classes[2] = rng.integers(0, CLASSES, SAMPLES)
    return maps, classes


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Any]:
    maps, classes = draws()
    shared = {"image_id": pa.array(IDS), "label": pa.array([1, 3, 0]), "target": pa.array([1, 3, 0])}
    images = shared | {"prediction": pa.array([1, 3, 0]), "success": pa.array([False] * 3)}
    images |= {
        "linf": pa.array(np.zeros(3)),
        "l2": pa.array(np.zeros(3)),
        **encode_images(np.zeros((3, 1, 6, 6), "u1")),
    }
    write_table(pa.table(images), tmp_path / "images.parquet", IMAGES, {})
    frequency = np.stack([np.bincount(row, minlength=CLASSES) / SAMPLES for row in classes])
    predictions = shared | {
        "prediction": pa.array(frequency.argmax(1)),
        "target_probability": pa.array(frequency.max(1)),
        "probabilities": pa.array(list(frequency)),
        "votes": pa.array(list((frequency * SAMPLES).round().astype(int))),
        "samples": pa.array([SAMPLES] * 3),
        "sample_predictions": pa.array(list(classes)),
    }
    write_table(pa.table(predictions), tmp_path / "predictions.parquet", SMOOTHED_PREDICTIONS, {})
    write_maps(tmp_path / "maps.parquet", maps)
    return {
        "images": tmp_path / "images.parquet",
        "predictions": tmp_path / "predictions.parquet",
        "maps": [tmp_path / "maps.parquet"],
        "out": tmp_path / "certificates.parquet",
    }


def write_maps(path: Path, maps: np.ndarray, ids: list[str] = IDS, method: str = "rollout") -> None:
    count = len(ids)
    columns = {
        "image_id": pa.array(ids),
        "method": pa.array([method] * count),
        "target": pa.array([0] * count),
        "rows": pa.array([3] * count),
        "columns": pa.array([3] * count),
        "map": pa.array(list(maps.mean(1))),
        "spread": pa.nulls(count, pa.list_(pa.float32())),
        "samples": pa.array([maps.shape[1]] * count),
        "flag": pa.array([""] * count),
        "tied": pa.array([0.0] * count),
        "raw_mean": pa.array(list(maps.mean(1).reshape(count, -1))),
        "sample_maps": pa.array(list(maps.reshape(count, -1))),
    }
    write_table(pa.table(columns), path, CERTIFIED_MAPS, {})


def spec(**certificates: dict[str, Any]) -> dict[str, Any]:
    return {"seed": 5, "sigma": SIGMA, "certificates": {k: {"use": k, **v} for k, v in certificates.items()}}


def test_rows_are_those_of_the_library(files: dict[str, Any]) -> None:
    settings = {"k": [2, 3], "beta": [0.5, 1.0], "selection": 100}
    run_certify(spec(grouped=settings, renyi=settings, cohen={"selection": 50}), "", **files)
    found = read_table(files["out"], CERTIFICATES).to_pandas()
    maps, classes = draws()
    single = CertificateParameters(k=3, beta=0.5, sigma=SIGMA, base="vote")
    expected = certify_maps(
        maps[:, :100], maps[:, 100:], "grouped", single, image_ids=IDS, method="rollout", dimensions=36, seed=5
    ).to_pandas()
    rows = found.query("certificate == 'grouped' and k == 3 and beta == 0.5").reset_index(drop=True)
    np.testing.assert_array_equal(rows.radius, expected.radius)
    np.testing.assert_allclose(rows.linf, rows.radius / 6)
    assert rows.radius[:2].min() > 0
    assert rows.flag.tolist() == ["", "", "abstain"]
    assert set(rows.samples) == {300}
    assert len(found) == 3 * (2 * 2 * 2 + 1)
    votes = [np.stack([np.bincount(c, minlength=CLASSES) for c in part]) for part in (classes[:, :50], classes[:, 50:])]
    prediction = found[found.certificate == "cohen"].reset_index(drop=True)
    exact = certify(*votes, SIGMA)
    np.testing.assert_array_equal(prediction.radius, exact.radius)
    assert prediction.prediction.tolist() == [1, 3, -1]
    assert prediction.method.tolist() == [""] * 3
    assert read_provenance(files["out"])["forwards"] == 0


def test_radii_behind_uniform_noise(files: dict[str, Any]) -> None:
    """λ (u − l) and 2λ (p̲ − ½), divided by √d = 6; and what does not hold behind it."""
    settings = {"k": [3], "beta": [1.0], "selection": 100}
    run_certify(spec(lipschitz=settings, cohen={}) | {"noise": "uniform"}, "", **files)
    found = read_table(files["out"], CERTIFICATES).to_pandas()
    half = SIGMA * np.sqrt(3)
    maps, votes = found[found.certificate == "lipschitz"], found[found.certificate == "cohen"]
    np.testing.assert_allclose(maps.radius, np.maximum(0, half * (maps.inside - maps.outside)) / 6)
    np.testing.assert_allclose(votes.radius, np.where(votes.prediction >= 0, 2 * half * (votes.inside - 0.5), 0) / 6)
    np.testing.assert_allclose(found.linf, found.radius / 6)
    assert (maps.radius > 0).any()
    assert (votes.radius > 0).any()
    for name in ("renyi", "renyi_prediction", "faithfulness", "paper_closed_form"):
        with pytest.raises(
            ConfigError, match=f"certificates.{name}: certificate '{name}' holds behind .*, not behind uniform"
        ):
            run_certify(spec(**{name: {}}) | {"noise": "uniform"}, "", **files)


def test_joint_radius_is_the_smaller_part_at_half_the_failure_each(files: dict[str, Any]) -> None:
    settings = {"k": [3], "beta": [0.5], "alpha": 0.01}
    run_certify(spec(faithfulness=settings, grouped=settings | {"alpha": 0.005}, cohen={"alpha": 0.005}), "", **files)
    found = read_table(files["out"], CERTIFICATES).to_pandas().set_index(["certificate", "image_id"])
    joint = found.loc["faithfulness"]
    np.testing.assert_allclose(joint.radius, np.minimum(joint.map_radius, joint.prediction_radius))
    np.testing.assert_array_equal(joint.prediction_radius, found.loc["cohen"].radius)
    assert (joint.map_radius >= found.loc["grouped"].radius).all()
    assert set(joint.alpha) == {0.01}
    assert joint.limit.iloc[0] == (
        "map" if joint.map_radius.iloc[0] <= joint.prediction_radius.iloc[0] else "prediction"
    )
    assert joint.flag.tolist() == ["", "", "abstain"]
    assert joint.sound.all()


def test_plugged_in_joint_radius_is_the_published_one(files: dict[str, Any]) -> None:
    settings = {"k": [3], "beta": [0.5], "base": "share", "bound": "none", "gamma": 0.1}
    run_certify(spec(faithfulness=settings), "", **files)
    found = read_table(files["out"], CERTIFICATES).to_pandas()
    maps, classes = draws()
    means = np.stack([(m.astype(float) / m.sum(-1, keepdims=True, dtype=float)).mean(0) for m in maps])
    frequency = np.stack([np.bincount(row, minlength=CLASSES) / SAMPLES for row in classes]).astype(np.float32)
    expected = faithfulness(means, frequency, 3, 0.5, SIGMA, gamma=0.1)
    np.testing.assert_allclose(found.radius, expected.radius, rtol=1e-9)
    np.testing.assert_allclose(found.prediction_radius, SIGMA * np.sqrt(0.1))
    assert not found.sound.any()
    assert found.alpha.isna().all()


@pytest.mark.parametrize(
    ("certificates", "message"),
    [
        (
            {"grouped": {"selection": 390}},
            r"certificates.grouped: 400 samples, 390 of them.* leave 10 .*; 14 are the fewest",
        ),
        ({"cohen": {"selection": 395}}, r"certificates.cohen: 400 samples.* leave 5 .*; 10 are the fewest"),
        ({"lipschitz": {"k": 8, "beta": 0.5}}, r"certificates.lipschitz: k \+ k0 = 8 \+ 5 exceeds the 9 entries"),
        ({"renyi": {"base": "unit"}}, "needs base 'share' or 'vote', not 'unit'"),
        ({"faithfulness": {"base": "unit", "bound": "none"}}, "base must be share or vote"),
    ],
)
def test_what_cannot_be_certified_is_named(files: dict[str, Any], certificates: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        run_certify(spec(**certificates), "", **files)


def test_rows_are_ordered_by_method_certificate_k_and_beta(files: dict[str, Any]) -> None:
    write_maps(files["out"].with_name("more.parquet"), draws()[0], method="gradient")
    files["maps"].append(files["out"].with_name("more.parquet"))
    settings = {"k": [2, 3], "beta": [0.5, 1.0]}
    run_certify(spec(grouped=settings, cohen={}, faithfulness=settings), "", **files)
    found = read_table(files["out"], CERTIFICATES).to_pandas()
    crossed = itertools.product(["rollout", "gradient"], ["grouped", "faithfulness"], [2, 3], [0.5, 1.0])
    expected = [("", "cohen", 0, -1.0), *crossed]
    rows = found[["method", "certificate", "k", "beta"]].fillna({"beta": -1.0})
    assert list(rows.itertuples(index=False, name=None)) == [row for row in expected for _ in IDS]


def test_files_of_other_images_are_named(files: dict[str, Any]) -> None:
    write_maps(files["maps"][0], draws()[0][:2], ["a", "x"])
    with pytest.raises(ArtifactError, match=r"maps.parquet' holds maps of other images or samples"):
        run_certify(spec(grouped={}), "", **files)

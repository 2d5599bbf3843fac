"""Tables over folders of results, and differences between two runs, on scores made by hand."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import wilcoxon
from typer.testing import CliRunner

from vitfaith.artifacts.named import write_named
from vitfaith.artifacts.provenance import provenance
from vitfaith.artifacts.schemas import MAPS, SCORES, SHARDS
from vitfaith.artifacts.store import write_table
from vitfaith.cli.main import app
from vitfaith.compare.folder import left_out, read_folds, read_scores, settings_of
from vitfaith.compare.runs import compare_runs
from vitfaith.compare.show import difference_text, results_table
from vitfaith.errors import ArtifactError

STATISTICS = {"confidence": 0.95, "resamples": 200, "seed": 0}
IDS = [f"image-{i}" for i in range(24)]


def write(
    results: Path, values: dict[str, np.ndarray], *, attack: str = "clean", code: str = "c1", k: int = 10
) -> None:
    """One family's scores under SaCo in one condition."""
    rows: dict[str, list[Any]] = {name: [] for name in ("image_id", "method", "metric", "variant", "value", "flag")}
    for method, numbers in values.items():
        for id_, value in zip(IDS, numbers, strict=True):
            row = (id_, method, "saco", f"k={k}", float(value), "" if np.isfinite(value) else "constant_map")
            for name, cell in zip(rows, row, strict=True):
                rows[name].append(cell)
    spec = {"seed": 0, "metrics": {"saco": {"use": "saco", "groups": [k]}}}
    path = (
        results
        / "scores/dataset=toy/model=vit"
        / f"attack={attack}/smoothing=none/explained=clean_prediction/family=one_pass/shard-000.parquet"
    )
    write_table(pa.table(rows), path, SCORES, provenance("score", spec, code))


@pytest.fixture
def values() -> dict[str, np.ndarray]:
    source = np.random.default_rng(0)
    return {"random": source.normal(0, 0.1, 24), "rollout": source.normal(0.5, 0.1, 24)}


def test_a_table_over_folds_pools_their_images(
    tmp_path: Path, values: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two folds hold other images; their means are over all, and clusters of each fold's shards are kept."""
    write(tmp_path / "a", values)
    cluster = [f"object-{i // 2}" for i in range(len(IDS))]
    write_clusters(tmp_path / "a", IDS, cluster)
    monkeypatch.setattr(f"{__name__}.IDS", [f"other-{i}" for i in range(24)])
    more = {method: numbers + 1 for method, numbers in values.items()}
    write(tmp_path / "b", more)
    write_clusters(tmp_path / "b", IDS, [f"more-{i // 2}" for i in range(len(IDS))])
    folders = [tmp_path / "a", tmp_path / "b"]
    pooled = read_folds(folders, {})
    assert pooled["image_id"].nunique() == 48
    assert sorted(pooled.groupby("cluster")["image_id"].nunique()) == [2] * 24
    done = CliRunner().invoke(app, ["table", *map(str, folders), "--format", "csv", "--resamples", "200"])
    rows = {row["method"]: row for row in csv.DictReader(io.StringIO(done.stdout))}
    assert rows["rollout"]["n"] == "48"
    assert float(rows["rollout"]["mean"]) == pytest.approx(values["rollout"].mean() + 0.5, rel=1e-5)
    with pytest.raises(ArtifactError, match="48 scores are in several of"):
        read_folds([tmp_path / "a", tmp_path / "a"], {})


def write_clusters(results: Path, ids: list[str], clusters: list[str]) -> None:
    """A shard whose images belong to clusters."""
    pixels = pa.array([b"\0"] * len(ids), pa.binary())
    table = pa.table(
        {
            "image_id": ids,
            "label": [0] * len(ids),
            "channels": [1] * len(ids),
            "height": [1] * len(ids),
            "width": [1] * len(ids),
            "pixels": pixels,
            "cluster": clusters,
        }
    )
    write_table(table, results / "shard/dataset=toy/shard-000.parquet", SHARDS, provenance("shard", {}, "c1"))


def test_table(tmp_path: Path, values: dict[str, np.ndarray]) -> None:
    write(tmp_path, values)
    write(tmp_path, {**values, "rollout": np.full(24, np.nan)}, attack="pgd")
    text = results_table([tmp_path], {"attack": "clean"}, "markdown", baseline="random", statistics=STATISTICS)
    assert f"**{values['rollout'].mean():.3f}**\\*\\*\\*" in text
    assert "pgd" not in text
    assert r"\begin{tabular}" in results_table([tmp_path], {}, "latex", baseline="random", statistics=STATISTICS)
    rows = list(
        csv.DictReader(io.StringIO(results_table([tmp_path], {}, "csv", baseline="random", statistics=STATISTICS)))
    )
    assert len(rows) == 4
    flagged = next(row for row in rows if row["attack"] == "pgd" and row["method"] == "rollout")
    assert (flagged["n"], flagged["flagged"], flagged["mean"]) == ("0", "24", "")


def test_a_table_has_the_share_of_tied_features_where_there_are_maps(
    tmp_path: Path, values: dict[str, np.ndarray]
) -> None:
    write(tmp_path, values)
    assert "Tied" not in results_table([tmp_path], {}, "markdown", baseline="random", statistics=STATISTICS)
    shares = {"random": [0.0, 0.0], "rollout": [0.5, 0.25]}
    for shard, place in enumerate(("shard-000", "shard-001")):
        rows = {
            "image_id": [f"{place} {method}" for method in shares],
            "method": list(shares),
            "target": [0, 0],
            "rows": [1, 1],
            "columns": [2, 2],
            "map": [[0.0, 1.0]] * 2,
            "spread": [None, None],
            "samples": [1, 1],
            "flag": ["", ""],
            "tied": [share[shard] for share in shares.values()],
        }
        condition = (
            "attribute/dataset=toy/model=vit/attack=clean/smoothing=none/explained=clean_prediction/family=one_pass"
        )
        write_table(pa.table(rows), tmp_path / condition / f"{place}.parquet", MAPS, provenance("attribute", {}, "c1"))
    text = results_table([tmp_path], {}, "markdown", baseline="random", statistics=STATISTICS)
    tied = {
        line.split("|")[1].strip(): line.split("|")[-2].strip() for line in text.splitlines() if line.startswith("|")
    }
    assert (tied["Method"], tied["Rollout"], tied["Random"]) == ("Tied", "38 %", "0 %")


def test_wrong_names_tell_the_right_ones(tmp_path: Path, values: dict[str, np.ndarray]) -> None:
    with pytest.raises(ArtifactError, match="no scores/"):
        read_scores(tmp_path, {})
    write(tmp_path, values)
    with pytest.raises(ArtifactError, match=r"attack 'fgsm'.*there are clean"):
        read_scores(tmp_path, {"attack": "fgsm"})
    with pytest.raises(ArtifactError, match=r"method 'lrp'.*there are random, rollout"):
        read_scores(tmp_path, {"method": "lrp"})


def test_equal_runs(tmp_path: Path, values: dict[str, np.ndarray]) -> None:
    for run in ("a", "b"):
        write(tmp_path / run, values)
    found = compare_runs(tmp_path / "a", tmp_path / "b", resamples=200)
    assert not found.settings
    assert not found.scores["moved"].any()
    assert "0 of 2 means moved" in difference_text(found)


def test_what_moved(tmp_path: Path, values: dict[str, np.ndarray]) -> None:
    write(tmp_path / "a", {**values, "gone": values["random"]}, code="c1")
    shifted = values["rollout"] + np.linspace(0.01, 0.2, 24)
    shifted[0] = np.nan
    write(tmp_path / "b", {"random": values["random"], "rollout": shifted}, code="c2", k=10)
    write(tmp_path / "b", values, attack="pgd")
    found = compare_runs(tmp_path / "a", tmp_path / "b", resamples=500)
    assert ("score", "code", "c1", "c1, c2") in found.settings
    assert found.only_a == [("toy", "vit", "clean", "none", "clean_prediction", "gone", "saco", "k=10")]
    assert {key[2] for key in found.only_b} == {"pgd"}
    row = found.scores.set_index("method").loc["rollout"]
    difference = (shifted - values["rollout"])[1:]
    assert row["n"] == 23
    assert row["difference"] == pytest.approx(difference.mean())
    assert row["low"] < difference.mean() < row["high"]
    assert row["p_adjusted"] == pytest.approx(min(1, 2 * wilcoxon(difference).pvalue))
    assert not found.scores.set_index("method").loc["random", "moved"]
    text = difference_text(found)
    assert "1 of 2 means moved" in text
    assert f"{difference.mean():+.4g}\\*\\*\\*" in text


def test_tolerance(tmp_path: Path, values: dict[str, np.ndarray]) -> None:
    write(tmp_path / "a", values)
    write(tmp_path / "b", {name: numbers + 1e-7 for name, numbers in values.items()})
    assert compare_runs(tmp_path / "a", tmp_path / "b", resamples=200).scores["moved"].all()
    assert not compare_runs(tmp_path / "a", tmp_path / "b", tolerance=1e-6, resamples=200).scores["moved"].any()


def test_runs_with_nothing_in_common(tmp_path: Path, values: dict[str, np.ndarray]) -> None:
    write(tmp_path / "a", values)
    write(tmp_path / "b", values, attack="pgd")
    with pytest.raises(ArtifactError, match="share no condition"):
        compare_runs(tmp_path / "a", tmp_path / "b")


def test_conditions_that_the_last_run_did_not_ask_for_stay_out(tmp_path: Path, values: dict[str, np.ndarray]) -> None:
    write(tmp_path, values)
    named = list((tmp_path / "scores").rglob("*.parquet"))
    write(tmp_path, values, attack="pgd", k=7)
    assert left_out(tmp_path) == ""
    assert set(read_scores(tmp_path, {})["attack"]) == {"clean", "pgd"}
    write_named(tmp_path, named)
    assert set(read_scores(tmp_path, {})["attack"]) == {"clean"}
    assert settings_of(tmp_path)["score", "metrics.saco.groups"] == ["[10]"]
    assert "1 files" in left_out(tmp_path)
    assert "attack=pgd" in left_out(tmp_path)
    shown = CliRunner().invoke(app, ["table", str(tmp_path)])
    assert "pgd" not in shown.stdout
    assert "vitfaith clean" in shown.stderr
    write_named(tmp_path, [tmp_path / "scores" / "dataset=other" / "x.parquet"])
    with pytest.raises(ArtifactError, match="no scores of the last run yet, only 2 files of other settings"):
        read_scores(tmp_path, {})


@pytest.mark.parametrize("value", ["3", "class_03", "class_3"])
def test_an_index_chooses_an_explained_class(value: str, tmp_path: Path, values: dict[str, np.ndarray]) -> None:
    write(tmp_path, values)
    (folder,) = (tmp_path / "scores").rglob("explained=*")
    folder.rename(folder.with_name("explained=class_3"))
    assert set(read_scores(tmp_path, {"explained": value})["explained"]) == {"class_3"}


@pytest.mark.parametrize(("column", "value"), [("explained", "clean_predicton"), ("method", "rolout")])
def test_a_misspelt_value_gets_a_hint(column: str, value: str, tmp_path: Path, values: dict[str, np.ndarray]) -> None:
    write(tmp_path, values)
    known = {"explained": "clean_prediction", "method": "rollout"}[column]
    with pytest.raises(ArtifactError, match=rf"{column} '{value}' in .* \(did you mean '{known}'\?\); there are "):
        read_scores(tmp_path, {column: value})

"""Published values beside those of a run: joined by condition, averaged over models where the paper does, never made up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from vitfaith.artifacts.provenance import provenance
from vitfaith.artifacts.schemas import SCORES
from vitfaith.artifacts.store import write_table
from vitfaith.compare.published import COLUMNS, STATUSES, beside, published_text, read_published
from vitfaith.errors import ArtifactError

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = sorted((ROOT / "resources" / "published").glob("*.csv"))
STATISTICS = {"confidence": 0.95, "resamples": 200, "seed": 0}
IDS = [f"image-{i}" for i in range(20)]


def write_run(results: Path) -> dict[tuple[str, str], np.ndarray]:
    """SaCo of three methods on two models; (model, method) → scores."""
    source = np.random.default_rng(0)
    found = {}
    for model in ("small", "large"):
        rows = []
        for place, method in enumerate(("random", "rollout", "transformer_mm")):
            found[model, method] = source.normal(place, 0.3, len(IDS))
            rows += [(i, method, "saco", "k=10", v, "") for i, v in zip(IDS, found[model, method], strict=True)]
        names = ("image_id", "method", "metric", "variant", "value", "flag")
        table = pa.table(dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)))
        spec = {"metrics": {"saco": {"use": "saco", "groups": [10]}}}
        place_ = f"scores/dataset=imagenet/model={model}/attack=clean/smoothing=none/explained=clean_prediction/family=one_pass/shard-000.parquet"
        write_table(table, results / place_, SCORES, provenance("score", spec, "c"))
    return found


def write_values(path: Path, *rows: str) -> Path:
    path.write_text("\n".join([",".join(COLUMNS), *rows, ""]))
    return path


def test_ours_is_the_mean_that_the_paper_states(tmp_path: Path) -> None:
    scores = write_run(tmp_path)
    path = write_values(
        tmp_path / "paper.csv",
        "One,imagenet,,clean,none,rollout,saco,k=10,0.25,confirmed,there",
        "One,imagenet,,clean,none,random,saco,k=10,0.3,digitised,there",
        "One,imagenet,,clean,none,transformer_mm,saco,k=10,0.45,confirmed,there",
        "Two,imagenet,large,clean,none,rollout,saco,k=10,0.2,unconfirmed,elsewhere",
        "Two,imagenet,large,pgd,none,rollout,saco,k=10,0.1,confirmed,elsewhere",
    )
    found = beside(read_published(path), tmp_path, STATISTICS)
    both = (scores["small", "rollout"] + scores["large", "rollout"]) / 2
    assert found["ours"][0] == pytest.approx(both.mean())
    assert found["low"][0] < found["ours"][0] < found["high"][0]
    assert found["ours"][3] == pytest.approx(scores["large", "rollout"].mean())
    assert found["value"].tolist() == [0.25, 0.3, 0.45, 0.2, 0.1]
    assert found["n"].tolist() == [20, 20, 20, 20, 0]
    assert np.isnan(found["ours"][4])
    text = published_text(found)
    assert "### One" in text
    assert (
        "Kendall's τ 0.33" in text
    )  # ours: random < rollout < transformer_mm; theirs: rollout < random < transformer_mm
    assert "| – | 0 | 0.1 | confirmed |" in text
    assert "1 of 5 published values have no counterpart" in text
    assert "unconfirmed, recalled" in text
    assert "reproduction," not in text


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.stem)
def test_shipped_values_are_complete(path: Path) -> None:
    frame = read_published(path)
    assert not frame.duplicated([c for c in COLUMNS if c not in ("value", "status")]).any()
    assert set(frame["status"]) <= set(STATUSES)
    assert (frame["source"].str.len() > 10).all()


def test_shipped_values_name_what_their_study_has() -> None:
    from vitfaith.study.load import load_study, read_yaml

    for path in SHIPPED:
        if path.stem == "diffmask":  # its CIFAR-10 is commented out until the user has it
            continue
        study = load_study(read_yaml(ROOT / "config" / path.name.replace(".csv", ".yaml")))
        frame = read_published(path)
        for column, section in (("dataset", "datasets"), ("model", "models"), ("attack", "attacks"),
                                ("smoothing", "smoothings"), ("method", "explainers"), ("metric", "metrics")):  # fmt: skip
            assert set(frame[column]) - {""} <= set(getattr(study, section)), (path, column)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["One,imagenet,,clean,none,rollout,saco,k=10,high,confirmed,x"], "line 2: value 'high' is no number"),
        (["One,imagenet,,clean,none,rollout,saco,k=10,0.1,sure,x"], "line 2: status 'sure' is none of confirmed"),
    ],
)
def test_wrong_values(rows: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=message):
        read_published(write_values(tmp_path / "p.csv", *rows))


def test_wrong_files(tmp_path: Path) -> None:
    write_values(tmp_path / "saco.csv")
    with pytest.raises(ArtifactError, match="published values there: saco"):
        read_published(tmp_path / "sacco.csv")
    (tmp_path / "short.csv").write_text("table,dataset\n")
    with pytest.raises(ArtifactError, match="has no column 'model'"):
        read_published(tmp_path / "short.csv")


def test_a_dataset_that_the_run_lacks_has_no_counterpart(tmp_path: Path) -> None:
    write_run(tmp_path)
    path = write_values(
        tmp_path / "paper.csv",
        "One,imagenet,,clean,none,rollout,saco,k=10,0.25,confirmed,there",
        "Two,cifar10,,clean,none,rollout,saco,k=10,0.2,confirmed,there",
    )
    found = beside(read_published(path), tmp_path, STATISTICS)
    assert found["n"].tolist() == [len(IDS), 0]
    assert "1 of 2 published values have no counterpart" in published_text(found)

"""The studies of tools/stamps_folds.py: each holds out another fold in all its datasets, and is config/stamps.yaml otherwise."""

from __future__ import annotations

from pathlib import Path

import yaml
from tools.stamps_folds import EXPLAINERS, study_of_fold, write_studies

from vitfaith.study.load import load_study

STAMPS = yaml.safe_load((Path(__file__).parents[2] / "config" / "stamps.yaml").read_text(encoding="utf-8"))


def test_a_fold_is_held_out_of_every_dataset_and_scored_with_several_images_per_cutout() -> None:
    for fold in range(5):
        study = load_study(study_of_fold(fold, 5, 3))
        readers = {name: reader.parameters for name, (reader, _) in study.datasets.items()}
        assert {(r.folds, r.fold) for r in readers.values()} == {(5, fold)}
        assert {r.folder for r in readers.values()} == {
            Path(__file__).parents[2] / STAMPS["datasets"]["stamps"]["folder"]
        }
        assert {n: r.per_cutout for n, r in readers.items()} == {"stamps": 3, "stamps_test": 1, "stamps_train": 8}
        assert [readers[n].split for n in ("stamps", "stamps_test", "stamps_train")] == ["test", "test", "train"]
        assert not set(readers["stamps"].photographs) & set(readers["stamps_train"].photographs)
        assert {section.images for _, section in study.datasets.values()} == {None}, "all of the fold"


def test_all_else_is_the_study_of_stamps() -> None:
    study = study_of_fold(0, 5, 3)
    assert {k: v for k, v in study.items() if k not in ("datasets", "models")} == {
        k: v for k, v in STAMPS.items() if k not in ("datasets", "models")
    }
    for name, model in study["models"].items():
        expected = STAMPS["models"][name]
        assert {k: v for k, v in model.items() if k != "training"} == {
            k: v for k, v in expected.items() if k != "training"
        }
        assert {**model["training"], "start_from": ""} == {**expected["training"], "start_from": ""}


def test_a_short_run_has_one_experiment_and_one_shard(tmp_path: Path) -> None:
    places = write_studies(tmp_path)
    assert [place.name for place in places] == [f"fold_{fold}" for fold in range(5)]
    for place in places:
        study = load_study(yaml.safe_load((place / "study.yaml").read_text(encoding="utf-8")))
        (experiment,) = study.experiments.values()
        assert tuple(experiment.explainers) == EXPLAINERS
        assert (list(experiment.attacks), list(experiment.smoothings)) == (["clean"], ["none"])
        reader, section = study.datasets["stamps"]
        assert section.images == section.shard_size == 105
        assert 5 * section.images >= 500, "enough images for the page"
        assert reader.parameters.per_cutout == 3


def test_a_short_run_keeps_baselines_and_explainers_of_the_claims() -> None:
    assert {"random", "raw_attention", "rollout", "attention_gradcam", "transformer_mm"} <= set(EXPLAINERS)
    assert set(EXPLAINERS) <= set(STAMPS["explainers"])

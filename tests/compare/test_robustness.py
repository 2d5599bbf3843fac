"""The page of robustness: which readings it has, and the words for their states."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import robustness
import robustness_run
from robustness_claims import (
    OLDER,
    random_is_zero,
)
from robustness_reading import above, grid, weakest

from tests.compare.test_claims import IMAGES, scores
from vitfaith.study.load import load_study, read_yaml


def test_the_tool_reads_every_experiment_and_metric_of_its_study() -> None:
    study = load_study(read_yaml(robustness_run.STUDY))
    text = Path(robustness_run.__file__).read_text(encoding="utf-8")
    assert all(f'"{experiment}"' in text for experiment in study.experiments)
    used = {metric for experiment in study.experiments.values() for metric in experiment.metrics}
    assert used == set(study.metrics)
    ends = ("", "_k", "_sum", "_black", "_blur")
    names = ("saco", "saco_placeholder", "saco_noise", "saco_cells", *OLDER)
    assert used <= {name + end for name in names for end in ends} | {"localisation_auroc", "admissible_mask"}


def test_experiments_that_have_not_run_are_not_tested(tmp_path: Path) -> None:
    """One experiment with random maps alone: claim 1 has one reading, and the page says what is missing."""
    folder = tmp_path / "results" / "tables" / "experiment=model"
    folder.mkdir(parents=True)
    scores("saco", {"random": 0.0, "other": 0.2}).assign(variant="k=10").to_parquet(folder / "scores.parquet")
    run = robustness_run.Run(tmp_path / "results")
    columns = {name: dict(robustness_run._run(found)) for name, found in run.of_saco(random_is_zero).items()}
    assert {name for name, found in columns.items() if found} == {"model"}
    assert columns["model"]["vit_patch2"].state == "survives"
    assert run.of_dds().keys() == {"as published", "K", "seed", "model", "resolution"}
    assert "without the experiments choices, indomain" in robustness.smaller(run)
    assert robustness.verdict({"random": columns}).endswith("**Not tested.**")


def test_a_missing_table_of_an_experiment_that_has_run_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "tables" / "experiment=choices").mkdir(parents=True)
    run = robustness_run.Run(tmp_path)
    with pytest.raises(FileNotFoundError, match="scores"):
        dict(robustness_run._run(run.of_saco(random_is_zero)["as published"]))
    with pytest.raises(robustness_run.NotRunError, match="indomain"):
        run.table("indomain")


def test_maps_without_their_files_are_an_error_where_scores_are(tmp_path: Path) -> None:
    """A second scoring is left out only where the first is missing."""
    run = robustness_run.Run(tmp_path)
    choices = run.of_saco(random_is_zero)["tie key"]
    assert dict(robustness_run._run(choices)) == {}
    place = (
        "dataset=fashion_mnist/model=vit_patch4/attack=clean/smoothing=none/explained=clean_prediction/family=one_pass"
    )
    (tmp_path / "scores" / place).mkdir(parents=True)
    (tmp_path / "scores" / place / "shard-000.parquet").write_bytes(b"not a table")
    with pytest.raises(Exception, match="shard-000") as raised:
        dict(robustness_run._run(choices))
    assert not isinstance(raised.value, robustness_run.NotRunError)


def test_natural_images_are_left_out_without_a_run_of_them(tmp_path: Path) -> None:
    run = robustness_run.Run(tmp_path)
    assert dict(robustness_run._run(run.of_dds()["resolution"])) == {}
    assert dict(robustness_run._run(run.of_saco(random_is_zero)["resolution"])) == {}


def test_folds_count_when_all_are_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fold without tables, or one that has not begun, would be missing from the mean in silence."""
    monkeypatch.setattr(robustness_run, "read_folds", lambda folders, chosen: pd.DataFrame({"folders": list(folders)}))
    results = [tmp_path / f"fold_{number}" / "results" for number in range(robustness_run.FOLDS)]
    for folder in results:
        run = robustness_run.Run(tmp_path, None, tmp_path)
        assert run.natural_name == "natural images, 112 px"
        with pytest.raises(robustness_run.NotRunError):
            run.natural()
        (folder / "tables" / "experiment=explainers").mkdir(parents=True)
    run = robustness_run.Run(tmp_path, None, tmp_path)
    assert run.natural()["folders"].tolist() == results
    assert run.natural_name == "natural images, 112 px, cross-fitted"


def test_the_attack_on_natural_images_is_named_as_its_study_has_it() -> None:
    study = read_yaml(robustness_run.STUDY.with_name("stamps.yaml"))
    assert study["attacks"]["pgd"]["eps"] == robustness_run.ATTACK.removeprefix("PGD ")


GOOD, POOR = above((0.5, 0.4, 0.6), 0, 9), above((0.1, -0.1, 0.3), 0, 9)
BAD, UNKNOWN = above((-0.5, -0.6, -0.4), 0, 9), above((np.nan, np.nan, np.nan), 0, 3)


def test_the_whole_interval_decides() -> None:
    assert [reading.state for reading in (GOOD, POOR, BAD, UNKNOWN)] == [
        "survives",
        "open",
        "contradicted",
        "undefined",
    ]


def test_an_undefined_part_is_the_weakest() -> None:
    assert weakest({"a": GOOD, "b": UNKNOWN}).remark == "b"


def test_a_cell_shows_the_choice_with_least_support() -> None:
    shown = robustness.cell("random", "K", {"K = 5": GOOD, "K = 20": BAD, "K = 7": UNKNOWN})
    assert shown == "**contradicted**: -0.50 [-0.60, -0.40] (K = 20)"
    assert robustness.cell("random", "K", {"5": POOR}) == "open: 0.10 [-0.10, 0.30]"
    assert robustness.cell("random", "seed", {"other images": GOOD}) == "survives: 0.50 [0.40, 0.60]"
    assert robustness.cell("random", "resolution", {}) == "not tested"
    assert robustness.cell("older", "K", {"5": UNKNOWN}) == "undefined"
    assert robustness.cell("certified", "fill", {}) == "–"


FOUND = {
    "random": {"as published": {"": GOOD}, "K": {"5": GOOD}, "fill": {"black": GOOD}, "seed": {"other": UNKNOWN}},
    "raise": {"as published": {"": GOOD}, "K": {"5": GOOD, "20": BAD}, "fill": {"black": POOR}},
    "dds": {"as published": {"": POOR}, "K": {"5": GOOD}},
    "older": {"as published": {"": BAD}, "K": {"5": BAD}},
    "certified": {"as published": {}},
    "diffmask": {"as published": {"": GOOD}},
}


def test_the_verdict_names_what_breaks_a_claim() -> None:
    ends = [line.rpartition(" **")[2].rstrip("*") for line in robustness.verdict(FOUND).splitlines()]
    assert ends == [
        "Survives all 2 tested choices.",
        "Holds; contradicted by K 20; open for fill.",
        "Open as published; 1 of 2 columns support it in all their readings.",
        "Contradicted as published; 0 of 2 columns support it in all their readings.",
        "Not tested.",
        "Holds as published; no other choice is tested.",
    ]


def test_the_summary_counts_claims_and_names_what_breaks_them() -> None:
    assert robustness.summary(FOUND) == (
        "As published, 3 of 5 tested claims hold on these data; 1 is open (3); 1 is contradicted (4). Claim 1 survives every tested choice. "
        "Claim 2 holds as published and is contradicted by K 20 and left open by fill."
    )
    alone = {"random": FOUND["random"], "dds": FOUND["random"]}
    assert robustness.summary(alone).endswith(
        "all 2 tested claims hold on these data. Claims 1 and 2 survive every tested choice."
    )


def test_a_smaller_run_is_named_for_every_experiment(tmp_path: Path) -> None:
    for experiment in load_study(read_yaml(robustness_run.STUDY)).experiments:
        folder = tmp_path / "tables" / f"experiment={experiment}"
        folder.mkdir(parents=True)
        pd.DataFrame({"image_id": IMAGES[:3]}).to_parquet(folder / "scores.parquet")
    text = robustness.smaller(robustness_run.Run(tmp_path))
    assert "3 of 256 images in `choices`" in text
    assert "3 of 24 images in `certified`" in text
    assert "3 of 512 images in `attacked_images`" in text


def test_a_table_has_the_values_of_compared_methods() -> None:
    table = scores("saco", {"a": 0.1, "b": 0.2})
    table.loc[(table["method"] == "b") & (table["image_id"] == IMAGES[0]), "value"] = np.inf
    assert grid(table, "saco")[0].shape == (39, 2)

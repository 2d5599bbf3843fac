"""The claims of docs/robustness.md on made-up tables whose answer is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import robustness
import robustness_run
from robustness_claims import (
    OLDER,
    Reading,
    certificates_cover,
    dds_keeps,
    diffmask_faithful,
    localisation_follows,
    older_fail,
    raise_saco,
    random_is_zero,
    weakest,
)

from vitfaith.study.load import load_study, read_yaml

IMAGES = [f"image-{number:02}" for number in range(40)]


def scores(metric: str, means: dict[str, float], spread: float = 0.05) -> pd.DataFrame:
    """Scores of each method around its mean; the noise of a method is its own, and has mean 0."""
    generator = np.random.default_rng(len(metric))
    noise = {method: generator.normal(0, spread, len(IMAGES)) for method in means}
    rows = [
        (image, method, metric, mean + noise[method][place] - noise[method].mean())
        for method, mean in means.items()
        for place, image in enumerate(IMAGES)
    ]
    return pd.DataFrame(rows, columns=["image_id", "method", "metric", "value"])


@pytest.mark.parametrize(("mean", "survives"), [(0.0, True), (0.005, True), (0.1, False), (-0.1, False)])
def test_random_is_zero(mean: float, survives: bool) -> None:
    found = random_is_zero(scores("saco", {"random": mean, "other": 0.9}))
    assert found.survives is survives
    assert found.number == pytest.approx(mean, abs=1e-12)
    assert found.n == len(IMAGES)
    assert (found.low <= 0 <= found.high) is survives


@pytest.mark.parametrize(("gain", "share", "survives"), [(0.0, 1.0, True), (0.5, 0.0, False), (-0.5, 1.0, True)])
def test_older_metrics_fail(gain: float, share: float, survives: bool) -> None:
    """Where SaCo separates both methods, the share counts the tests of older metrics without a gain, in their own direction."""
    parts = [scores("saco", {"random": 0.0, "a": 0.5, "b": 0.4})]
    for metric, sign in OLDER.items():
        parts.append(scores(metric, {"random": 0.5, "a": 0.5 + sign * gain, "b": 0.5 + sign * gain}))
    found = older_fail(pd.concat(parts))
    assert found.number == pytest.approx(share)
    assert found.survives is survives
    assert found.remark.startswith("separated of 2: saco 2, deletion_auc ")


def test_older_metrics_cannot_fail_where_saco_separates_nothing() -> None:
    names = {"random": 0.5, "a": 0.5}
    found = older_fail(pd.concat([scores(metric, names) for metric in ("saco", *OLDER)]))
    assert np.isnan(found.number)
    assert not found.survives


@pytest.mark.parametrize(
    ("gradients", "layers", "decides"), [(0.3, 0.1, "layers"), (0.1, 0.3, "gradients"), (-0.2, 0.3, "gradients")]
)
def test_gradients_and_layers(gradients: float, layers: float, decides: str) -> None:
    """The smaller of the two main effects decides."""
    means = {"raw_attention": 0.1, "attention_gradcam": 0.1 + gradients, "rollout": 0.1 + layers}
    found = raise_saco(scores("saco", {**means, "transformer_mm": 0.1 + gradients + layers}))
    assert found.remark == decides
    assert found.number == pytest.approx(min(gradients, layers), abs=1e-12)
    assert found.survives is (min(gradients, layers) > 0)


def attacked(changed: dict[str, int], overlap: dict[str, float]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The attack changes the prediction of the first ``changed`` images behind each smoothing."""
    predictions = [
        (image, attack, smoothing, int(attack == "pgd" and place < changed[smoothing]))
        for place, image in enumerate(IMAGES)
        for attack in ("clean", "pgd")
        for smoothing in ("dds", "none")
    ]
    top = [
        (image, method, smoothing, 1.0 if method == "random" else overlap[smoothing] + 0.01 * (place % 3))
        for place, image in enumerate(IMAGES)
        for method in ("random", "rollout")
        for smoothing in ("dds", "none")
    ]
    return (
        pd.DataFrame(predictions, columns=["image_id", "attack", "smoothing", "prediction"]),
        pd.DataFrame(top, columns=["image_id", "method", "smoothing", "value"]),
    )


def test_dds_keeps_predictions_and_top_patches() -> None:
    kept = dds_keeps(*attacked({"dds": 4, "none": 30}, {"dds": 0.9, "none": 0.5}))
    assert kept.survives
    assert (kept.remark, kept.number) == ("top patches", pytest.approx(0.4))
    lost = dds_keeps(*attacked({"dds": 4, "none": 4}, {"dds": 0.9, "none": 0.5}))
    assert not lost.survives
    assert (lost.remark, lost.number) == ("predictions", 0)
    assert not dds_keeps(*attacked({"dds": 4, "none": 30}, {"dds": 0.5, "none": 0.5})).survives


def test_certificates_count_sound_radii_of_maps() -> None:
    rows = [(image, "rollout", True, 0.1 + 0.02 * place) for place, image in enumerate(IMAGES)]
    rows += [(image, "rollout", False, 9.0) for image in IMAGES] + [(image, "", True, 9.0) for image in IMAGES]
    table = pd.DataFrame(rows, columns=["image_id", "method", "sound", "radius"])
    found = certificates_cover(table, 0.5)
    assert found.number == pytest.approx(19 / 40)  # radii above .5: places 21 to 39, as the 20th's is .5
    assert not found.survives
    assert found.remark == "l2 0.50, largest radius 0.88"
    assert certificates_cover(table, 0.15).survives


def test_diffmask_needs_every_fill() -> None:
    good = scores("saco_noise", {"random": 0.0, "diffmask": 0.3})
    bad = scores("saco_placeholder", {"random": 0.0, "diffmask": 0.0})
    metrics = {"noise": "saco_noise", "placeholder": "saco_placeholder"}
    found = diffmask_faithful(pd.concat([good, bad]), metrics)
    assert (found.remark, found.survives) == ("placeholder", False)
    assert diffmask_faithful(good, {"noise": "saco_noise"}).number == pytest.approx(0.3)


@pytest.mark.parametrize(("order", "tau", "survives"), [((1, 2, 3, 4), 1.0, True), ((4, 3, 2, 1), -1.0, False)])
def test_localisation_follows(order: tuple[int, ...], tau: float, survives: bool) -> None:
    """Random maps are in neither order."""
    methods = ("a", "b", "c", "d")
    means = {method: place / 5 for method, place in zip(methods, order, strict=True)}
    truth = scores("auroc", {**dict(zip(methods, (0.2, 0.4, 0.6, 0.8), strict=True)), "random": 0.9})
    found = localisation_follows(pd.concat([scores("saco", {**means, "random": 0.0}), truth]), "auroc")
    assert (found.number, found.survives, found.n) == (tau, survives, len(IMAGES))
    assert found.remark == "4 methods"


def test_a_method_with_few_values_does_not_cost_the_others_their_images() -> None:
    names = {"a": 0.1, "b": 0.2, "c": 0.3, "rare": 0.9}
    saco, truth = (scores(metric, names) for metric in ("saco", "auroc"))
    saco.loc[(saco["method"] == "rare") & saco["image_id"].isin(IMAGES[:20]), "value"] = np.nan
    found = localisation_follows(pd.concat([saco, truth]), "auroc")
    assert (found.n, found.number, found.remark) == (len(IMAGES), 1.0, "3 methods")


def test_images_of_a_cluster_are_one_unit() -> None:
    rows = [(f"{place}#{copy}", "random", "saco", place + copy, str(place)) for place in range(12) for copy in range(2)]
    found = random_is_zero(pd.DataFrame(rows, columns=["image_id", "method", "metric", "value", "cluster"]))
    assert (found.n, found.number) == (12, pytest.approx(6.0))


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
    assert columns["model"]["vit_patch2"].survives
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
    run = robustness_run.Run(tmp_path, None, tmp_path)
    results = [tmp_path / f"fold_{number}" / "results" for number in (0, 1)]
    (tmp_path / "fold_1").mkdir()
    for folder in results:
        with pytest.raises(robustness_run.NotRunError):
            run.natural()
        (folder / "tables" / "experiment=explainers").mkdir(parents=True)
    assert run.natural()["folders"].tolist() == results


def test_an_undefined_part_is_the_weakest() -> None:
    known, unknown = Reading(1, 0.9, 1.1, 0.9, 3), Reading(np.nan, np.nan, np.nan, np.nan, 3)
    assert weakest({"a": known, "b": unknown}).remark == "b"
    assert not unknown.survives


def test_a_cell_shows_the_choice_with_least_support() -> None:
    good, poor = Reading(0.5, 0.4, 0.6, 0.4, 9), Reading(0.1, -0.1, 0.3, -0.1, 9)
    assert (
        robustness.cell("random", "K", {"K = 5": good, "K = 20": poor}) == "**does not**: 0.10 [-0.10, 0.30] (K = 20)"
    )
    assert robustness.cell("random", "seed", {"other images": good}) == "survives: 0.50 [0.40, 0.60]"
    assert robustness.cell("random", "resolution", {}) == "not tested"
    assert robustness.cell("certified", "fill", {}) == "–"


def test_the_verdict_names_what_breaks_a_claim() -> None:
    good, poor = Reading(0.5, 0.4, 0.6, 0.4, 9), Reading(0.1, -0.1, 0.3, -0.1, 9)
    lines = robustness.verdict(
        {
            "random": {"as published": {"": good}, "K": {"5": good}, "fill": {"black": good}},
            "raise": {"as published": {"": good}, "K": {"5": good, "20": poor}},
            "dds": {"as published": {"": poor}, "K": {"5": good}},
        }
    ).splitlines()
    assert lines[0].endswith("**Survives all 2 tested choices.**")
    assert lines[1].endswith("**Holds; not robust to K.**")
    assert lines[2].endswith("**Does not hold as published; 1 of 2 columns support it.**")


def test_the_summary_counts_claims_and_names_what_breaks_them() -> None:
    good, poor = Reading(0.5, 0.4, 0.6, 0.4, 9), Reading(0.1, -0.1, 0.3, -0.1, 9)
    found = {
        "random": {"as published": {"": good}, "K": {"5": good}},
        "raise": {"as published": {"": good}, "K": {"5": good, "20": poor}, "fill": {"black": poor}},
        "dds": {"as published": {"": poor}, "K": {"5": good}},
        "certified": {"as published": {}},
    }
    assert robustness.summary(found) == (
        "As published, 2 of 3 tested claims hold on these data. Claim 1 survives every tested choice. "
        "Not robust to all choices: 2 (to K and fill). Not supported as published: 3."
    )
    alone = {"random": found["random"], "dds": found["random"]}
    assert robustness.summary(alone).endswith(
        "all 2 tested claims hold on these data. Claims 1 and 2 survive every tested choice."
    )

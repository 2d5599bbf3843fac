"""Targets of experiments: their values, the paths and jobs that follow, and what decides them."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import vitfaith.study.targets as targets_module
from vitfaith.artifacts.paths import Condition
from vitfaith.errors import ConfigError
from vitfaith.study.estimate import estimate
from vitfaith.study.inputs import reads
from vitfaith.study.jobs import jobs
from vitfaith.study.load import load_study, read_yaml
from vitfaith.study.metric_inputs import bank_condition
from vitfaith.study.plan import Plan
from vitfaith.study.promised import promised_files

ROOT = Path(__file__).resolve().parents[2]


def tiny(**changes: Any) -> dict[str, Any]:
    raw = copy.deepcopy(read_yaml(ROOT / "config" / "tiny.yaml"))
    raw["experiments"]["tiny"] |= changes
    return raw


def plan_of(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> Plan:
    monkeypatch.chdir(ROOT)
    return Plan(load_study(tiny(**changes)))


def values(monkeypatch: pytest.MonkeyPatch, targets: list[Any]) -> list[Any]:
    monkeypatch.chdir(ROOT)
    return list(load_study(tiny(targets=targets)).experiments["tiny"].targets)


def test_left_out_it_is_the_clean_prediction_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_of(monkeypatch)
    assert {c.explained for c in plan.conditions} == {"clean_prediction"}
    with_key = plan_of(monkeypatch, targets=["clean_prediction"])
    assert promised_files(plan) == promised_files(with_key)


def test_words_indices_and_names(monkeypatch: pytest.MonkeyPatch) -> None:
    assert values(monkeypatch, ["runner_up", 3, "0", "class_3"]) == ["runner_up", "class_3", "class_0"]
    monkeypatch.setattr(targets_module, "open_dataset", lambda reader: SimpleNamespace(classes=["shirt", "ankle boot"]))
    assert values(monkeypatch, ["ankle boot", 1]) == ["class_1"]
    with pytest.raises(ConfigError) as caught:
        values(monkeypatch, ["ankel boot"])
    assert str(caught.value) == (
        "experiments.tiny.targets: 'ankel boot' is unknown (did you mean 'ankle boot'?); choose clean_prediction, prediction, "
        "label, runner_up, the index of a class from 0, or a class of dataset 'tiny': shirt, ankle boot"
    )


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (["predictoin"], r"targets: 'predictoin' is unknown \(did you mean 'prediction'\?\)"),
        ([-1], r"experiments\.tiny\.targets: -1 is below 0; choose clean_prediction, prediction, label, runner_up"),
        ([], r"experiments\.tiny\.targets: List should have at least 1 item"),
        ([True], r"experiments\.tiny\.targets: .*true is no number"),
        ([1.5], r"experiments\.tiny\.targets\.0"),
    ],
)  # fmt: skip
def test_wrong_values(monkeypatch: pytest.MonkeyPatch, targets: list[Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        values(monkeypatch, targets)


def test_datasets_that_disagree_on_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = tiny(targets=["shirt"])
    raw["datasets"]["other"] = raw["datasets"]["tiny"]
    orders = iter([["shirt", "bag"], ["bag", "shirt"]])
    monkeypatch.setattr(targets_module, "open_dataset", lambda reader: SimpleNamespace(classes=next(orders)))
    monkeypatch.chdir(ROOT)
    with pytest.raises(
        ConfigError, match="'shirt' is class 0 in tiny, 1 in other; put each dataset into a separate experiment"
    ):
        load_study(raw)


def test_images_and_predictions_are_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    one = jobs(plan_of(monkeypatch))
    two = jobs(plan_of(monkeypatch, targets=["clean_prediction", "prediction"]))
    added = {(job.stage, job.place) for job in two} - {(job.stage, job.place) for job in one}
    assert {(job.stage, job.place) for job in one} <= {(job.stage, job.place) for job in two}
    assert {stage for stage, _ in added} == {"attribute", "score", "stability"}
    assert {place.split("/")[4] for _, place in added} == {"prediction"}
    for stage in ("attack", "denoise", "predict", "shard"):
        assert [j for j in one if j.stage == stage] == [j for j in two if j.stage == stage]
    own = {path.as_posix() for job in one + two for path in job.outputs}
    shared = re.compile("results/(shard|attack|denoise|predictions)/")
    assert not [path for path in own if shared.match(path) and "explained=" in path]


def deciding(plan: Plan, stage: str, attack: str, smoothing: str, explained: str) -> str | None:
    place = {"dataset": "tiny", "model": "vit_patch4", "attack": attack, "smoothing": smoothing, "explained": explained}
    found = {r.option: r for r in reads(plan, stage, place | {"family": "one_pass", "shard": "shard-000"})}
    if "predictions" not in found:
        return None
    assert found["predictions"].files == (found["predictions"].path,)
    return found["predictions"].path


def test_what_decides_the_class(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_of(monkeypatch, targets=["clean_prediction", "prediction", "label", "runner_up", 4])
    folder = "results/predictions/dataset=tiny/model=vit_patch4"
    for stage in ("attribute", "score"):
        for attack, smoothing in (("pgd", "none"), ("pgd", "dds"), ("clean", "dds")):
            file = f"{folder}/attack={attack}/smoothing={smoothing}/shard-000.parquet"
            assert deciding(plan, stage, attack, smoothing, "prediction") == file
            clean = f"{folder}/attack=clean/smoothing=none/shard-000.parquet"
            assert deciding(plan, stage, attack, smoothing, "runner_up") == clean
            for other in ("clean_prediction", "label", "class_4"):
                assert deciding(plan, stage, attack, smoothing, other) is None
        assert deciding(plan, stage, "clean", "none", "prediction") is None
    assert plan.explains(Condition("tiny", "vit_patch4", "clean", "none", "prediction")) == "clean_prediction"
    assert plan.explains(Condition("tiny", "vit_patch4", "clean", "dds", "prediction")) == "prediction"


def test_runner_up_needs_the_clean_images_whatever_is_crossed(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_of(monkeypatch, targets=["runner_up"], attacks=["pgd"], smoothings=["none"], stability=[], figures=[])
    clean = "results/predictions/dataset=tiny/model=vit_patch4/attack=clean/smoothing=none/shard-000.parquet"
    assert clean in promised_files(plan)
    assert clean in {path.as_posix() for job in jobs(plan) for path in job.outputs}


def test_smoothings_share_a_bank_unless_they_decide_the_class(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_of(monkeypatch, targets=["clean_prediction", "prediction"])
    smoothed = Condition("tiny", "vit_patch4", "pgd", "dds", "clean_prediction")
    assert bank_condition(plan, smoothed).smoothing == "none"
    own = Condition("tiny", "vit_patch4", "pgd", "dds", "prediction")
    assert bank_condition(plan, own) == own


def test_stability_compares_within_one_value(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_of(monkeypatch, targets=["clean_prediction", "prediction"])
    for explained in ("clean_prediction", "prediction"):
        found = plan.references(Condition("tiny", "vit_patch4", "pgd", "dds", explained))
        assert {c.explained for c in found.values()} == {explained}
        assert {name: c.smoothing for name, c in found.items()} == {"clean": "dds", "undefended": "none"}


def test_one_value_a_class(monkeypatch: pytest.MonkeyPatch) -> None:
    assert values(monkeypatch, ["class_03", "class_3", "03", 3]) == ["class_3"]
    with pytest.raises(ConfigError, match="'class_٣' is unknown"):
        values(monkeypatch, ["class_٣"])


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("7", r"'7' is also the name of class 0 of dataset 'tiny'; write 0 \(without quotes\) for that class, or 7 \("),
        ("class_0", r"'class_0' is also the name of class 2 of .* write 2 \(without quotes\) for that class, or 0 \("),
        ("label", "'label' is also the name of class 3 of .*, or rename that class to explain by the word"),
    ],
)
def test_a_class_called_as_a_word_or_an_index(target: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    classes = ["7", "Sandal", "class_0", "label", "4"]
    monkeypatch.setattr(targets_module, "open_dataset", lambda reader: SimpleNamespace(classes=classes))
    with pytest.raises(ConfigError, match=rf"experiments\.tiny\.targets: {message}"):
        values(monkeypatch, [target])
    assert values(monkeypatch, [7, "4", "Sandal", "runner_up"]) == ["class_7", "class_4", "class_1", "runner_up"]


def test_tables_of_a_further_target_are_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = jobs(plan_of(monkeypatch))
    for path in {path for job in before for path in job.outputs}:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    assert not [row.stage for row in estimate(before, tmp_path, {}) if row.to_do]
    after = estimate(jobs(plan_of(monkeypatch, targets=["clean_prediction", "label"])), tmp_path, {})
    assert {"tables", "figures", "page"} <= {row.stage for row in after if row.to_do == row.jobs}
    assert {row.stage for row in after if row.to_do == 0} == {"shard", "attack", "denoise", "predict"}

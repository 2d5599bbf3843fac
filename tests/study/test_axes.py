"""Axes that an experiment leaves out: as if it listed the whole section."""

from __future__ import annotations

import copy
import inspect
from itertools import chain, combinations
from pathlib import Path
from typing import Any

import pytest

from vitfaith.artifacts.store import partition_values
from vitfaith.errors import ConfigError
from vitfaith.study.identity import spec_of
from vitfaith.study.jobs import jobs
from vitfaith.study.load import load_study, read_yaml
from vitfaith.study.plan import Plan
from vitfaith.study.sections import AXES, Experiment
from vitfaith.study.specs import SPECS

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = sorted((ROOT / "config").rglob("*.yaml"))


def shipped(name: str) -> dict[str, Any]:
    return copy.deepcopy(read_yaml(ROOT / "config" / name))


def specs(plan: Plan) -> dict[tuple[str, str], str]:
    """The specification of every job of a study."""
    found = {}
    for job in jobs(plan):
        values = partition_values(job.outputs[0]) | {"shard": job.outputs[0].stem}
        values |= {"experiment": job.place.split("/")[0], "figure": job.outputs[0].stem}
        taken = list(inspect.signature(SPECS[job.stage]).parameters)[1:]
        found[job.stage, job.place] = spec_of(plan, job.stage, {key: values[key] for key in taken})
    return found


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_study_is_the_one_whose_lists_are_all_written_out(path: Path) -> None:
    raw = copy.deepcopy(read_yaml(path))
    study = load_study(raw)
    raw["experiments"] = {name: experiment.model_dump() for name, experiment in study.experiments.items()}
    assert all(raw["experiments"][name][axis] for name in study.experiments for axis in AXES)
    assert load_study(raw) == study


def test_whichever_axes_are_left_out_the_study_and_every_specification_are_those_of_the_lists(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(ROOT)
    raw = shipped("tiny.yaml")
    lists = {axis: list(raw[axis]) for axis in AXES}
    fixed = raw["experiments"]["tiny"]
    raw["experiments"]["tiny"] = fixed | lists
    whole = load_study(raw)
    expected = specs(Plan(whole))
    assert {stage for stage, _ in expected} > {"attack", "denoise", "attribute", "score", "tables", "figures"}
    for left_out in chain.from_iterable(combinations(AXES, count) for count in range(len(AXES) + 1)):
        raw["experiments"]["tiny"] = fixed | {axis: ids for axis, ids in lists.items() if axis not in left_out}
        assert load_study(raw) == whole, left_out
    assert specs(Plan(load_study(raw))) == expected


def test_what_is_added_to_a_section_is_crossed() -> None:
    raw = shipped("tiny.yaml")
    raw["metrics"]["aopc"] = {}
    assert load_study(raw).experiments["tiny"].metrics == ["saco", "deletion_auc", "aopc"]
    raw["experiments"]["tiny"]["metrics"] = ["saco"]
    assert load_study(raw).experiments["tiny"].metrics == ["saco"]


def test_stability_sanity_certificates_and_figures_that_are_left_out_are_none() -> None:
    raw = shipped("tiny.yaml")
    raw["experiments"] = {"bare": None}
    bare = load_study(raw).experiments["bare"]
    assert [key for key in Experiment.model_fields if not getattr(bare, key)] == [
        "stability", "sanity", "certificates", "figures",
    ]  # fmt: skip


RECIPE = {"train_on": "for_training", "test_on": "held_out"}


@pytest.mark.parametrize(
    ("section", "id_", "settings"),
    [
        ("models", "vit_patch4", {"training": RECIPE}),
        ("denoisers", "fashion_mnist", {"training": RECIPE}),
        ("explainers", "diffmask", {"weights": "trained", "training": RECIPE}),
    ],
)
def test_datasets_of_trainings_are_crossed_only_by_name(section: str, id_: str, settings: dict[str, Any]) -> None:
    raw = shipped("tiny.yaml")
    raw["datasets"] |= {name: dict(raw["datasets"]["tiny"]) for name in ("for_training", "held_out", "other")}
    assert load_study(raw).experiments["tiny"].datasets == ["tiny", "for_training", "held_out", "other"]
    raw[section][id_] = raw[section].get(id_, {}) | settings
    assert load_study(raw).experiments["tiny"].datasets == ["tiny", "other"]
    raw["experiments"]["tiny"]["datasets"] = ["held_out"]
    assert load_study(raw).experiments["tiny"].datasets == ["held_out"]


@pytest.mark.parametrize("axis", AXES)
def test_an_axis_that_stands_for_nothing_is_named(axis: str) -> None:
    raw = shipped("tiny.yaml")
    raw[axis] = {}
    with pytest.raises(ConfigError) as caught:
        load_study(raw)
    assert str(caught.value) == (
        f"experiments.tiny.{axis}: left out, which means all {axis}, and section {axis} is empty; add one"
    )


def test_datasets_that_are_all_of_trainings_are_named() -> None:
    raw = shipped("tiny.yaml")
    raw["models"]["vit_patch4"]["training"] = {"train_on": "tiny", "test_on": "tiny"}
    with pytest.raises(ConfigError) as caught:
        load_study(raw)
    assert str(caught.value) == (
        "experiments.tiny.datasets: left out, which means all datasets that no training names, and trainings name every "
        "one; list some here"
    )


def test_every_empty_axis_gets_a_line() -> None:
    raw = shipped("tiny.yaml")
    raw |= {"explainers": {}, "metrics": {}}
    with pytest.raises(ConfigError) as caught:
        load_study(raw)
    assert str(caught.value).splitlines() == [
        "experiments.tiny.explainers: left out, which means all explainers, and section explainers is empty; add one",
        "experiments.tiny.metrics: left out, which means all metrics, and section metrics is empty; add one",
    ]


@pytest.mark.parametrize("axis", AXES)
def test_an_empty_list_is_no_left_out_axis(axis: str) -> None:
    raw = shipped("tiny.yaml")
    raw["experiments"]["tiny"][axis] = []
    with pytest.raises(ConfigError, match=rf"experiments\.tiny\.{axis}: List should have at least 1 item"):
        load_study(raw)


@pytest.mark.parametrize("axis", [axis for axis in Experiment.model_fields if axis != "certificates"])
def test_an_id_that_is_listed_twice_is_refused(axis: str) -> None:
    raw = shipped("tiny.yaml")
    ids = list(raw.get(axis, {}))
    raw["experiments"]["tiny"][axis] = [*ids, ids[0]] if ids else ["a", "a"]
    with pytest.raises(ConfigError, match=rf"^experiments\.tiny\.{axis}: .*'{ids[0] if ids else 'a'}' is listed twice"):
        load_study(raw)

"""Items inside the settings of other items: all spellings of one are one item, from the configuration to the job."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import jsonschema
import pytest
import yaml
from pydantic import Field, ValidationError

from vitfaith.attacks.registry import ATTACKS
from vitfaith.errors import ConfigError
from vitfaith.explainers.registry import EXPLAINERS
from vitfaith.metrics.fills.registry import FILLS, fill_of
from vitfaith.metrics.registry import METRICS
from vitfaith.nested import ItemOf, items_inside
from vitfaith.registry import Item, Parameters, Registry
from vitfaith.sanity.registry import SANITY_CHECKS
from vitfaith.stability.registry import STABILITY_MEASURES
from vitfaith.study.describe import example
from vitfaith.study.identity import code_of, spec_of
from vitfaith.study.jobs import jobs
from vitfaith.study.listing import KEYS, LISTED
from vitfaith.study.load import load_study, read_yaml
from vitfaith.study.plan import Plan
from vitfaith.study.schema import config_schema

ROOT = Path(__file__).resolve().parents[1]
CONDITION = {
    "dataset": "tiny",
    "model": "vit_patch4",
    "attack": "clean",
    "smoothing": "none",
    "explained": "clean_prediction",
    "family": "one_pass",
}
JOBS = {  # section -> the job that has its items in its specification
    "metrics": ("score", CONDITION | {"shard": "shard-000"}),
    "sanity": ("sanity", CONDITION | {"shard": "shard-000"}),
    "attacks": ("attack", {"dataset": "tiny", "model": "vit_patch4", "attack": "inner", "shard": "shard-000"}),
}

EQUAL: list[tuple[str, dict[str, Any], list[dict[str, Any]]]] = [
    (
        "metrics",
        {"metric": "saco", "groups": [7]},
        [
            {"fill": "blur"},
            {"fill": {"name": "blur"}},
            {"fill": {"name": "blur", "sigma": 5.0}},
            {"fill": {"kernel": 11, "sigma": 5, "name": "blur"}},
            {"fill": {"name": "blur", "sigma": "10/2"}},
        ],
    ),
    ("metrics", {"metric": "saco", "groups": [7]}, [{}, {"fill": "image_mean"}, {"fill": {"name": "image_mean"}}]),
    (
        "metrics",
        {"metric": "single_deletion_score", "cells": 2},
        [{"fill": "noise"}, {"fill": {"name": "noise", "draw": 0}}],
    ),
    (
        "sanity",
        {"check": "random_logit"},
        [
            {"measures": ["top_k_overlap", "ssim"]},
            {"measures": [{"measure": "top_k_overlap"}, {"measure": "ssim", "window": 7}]},
            {"measures": [{"measure": "top_k_overlap", "k": [0.05, "1/10", 0.2, 0.5]}, "ssim"]},
        ],
    ),
    (
        "attacks",
        {"attack": "top_k_attack"},
        [
            {},
            {"explainer": "attention_rollout"},
            {"explainer": "attention_rollout", "arguments": {}},
            {"arguments": {"head_fusion": "mean"}},
            {"explainer": "attention_rollout", "arguments": {"head_fusion": "mean"}},
            {"explainer": {"explainer": "attention_rollout", "head_fusion": "mean"}},
        ],
    ),
]


def plan_of(section: str, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Plan:
    """The plan of the smallest study with one item ``inner`` in a section."""
    monkeypatch.chdir(ROOT)
    raw = read_yaml(Path("config/tiny.yaml"))
    kept: dict[str, Any] = {"attacks": {"clean": {}}}.get(section, {})
    raw[section] = kept | {"inner": settings}
    raw["stability"], raw["figures"] = {}, {}
    for experiment in raw["experiments"].values():
        experiment[section] = list(raw[section])
        experiment["figures"] = experiment["stability"] = []
    jsonschema.validate(raw, config_schema())
    return Plan(load_study(raw))


@pytest.mark.parametrize(("section", "settings", "spellings"), EQUAL, ids=range(len(EQUAL)))
def test_equal_spellings_give_one_item_one_job_and_one_file(
    section: str, settings: dict[str, Any], spellings: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    stage, where = JOBS[section]
    found = []
    for spelling in spellings:
        plan = plan_of(section, settings | spelling, monkeypatch)
        told = json.loads(spec_of(plan, stage, where))
        files = [(job.stage, job.place, job.outputs) for job in jobs(plan)]
        found.append((getattr(plan.study, section)["inner"], told, code_of(plan, stage, where), files))
    assert all(one == found[0] for one in found[1:])
    (_, inner), *_ = items_inside(found[0][0].parameters)
    assert len({next(items_inside(one[0].parameters))[1] for one in found}) == 1  # as a key, too
    assert inner.id == ""


@pytest.mark.parametrize(
    ("section", "settings", "spellings"),
    [
        ("metrics", {"metric": "saco"}, [{"fill": "blur"}, {"fill": {"name": "blur", "sigma": 3}}, {"fill": "black"}]),
        (
            "sanity",
            {"check": "random_logit"},
            [{"measures": ["ssim"]}, {"measures": [{"measure": "ssim", "window": 5}]}],
        ),
        (
            "attacks",
            {"attack": "top_k_attack"},
            [{}, {"arguments": {"head_fusion": "max"}}, {"explainer": "raw_attention"}],
        ),
    ],
)
def test_other_items_give_other_jobs(
    section: str, settings: dict[str, Any], spellings: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    stage, where = JOBS[section]
    plans = [plan_of(section, settings | spelling, monkeypatch) for spelling in spellings]
    assert len({spec_of(plan, stage, where) for plan in plans}) == len(spellings)


INNER = [
    *(("metrics", entry.name, {"fill": None}) for entry in METRICS if "fill" in entry.parameters.model_fields),
    *(
        ("sanity", entry.name, {"measures": None})
        for entry in SANITY_CHECKS
        if "measures" in entry.parameters.model_fields
    ),
    *(
        ("attacks", entry.name, {"explainer": None})
        for entry in ATTACKS
        if "explainer" in entry.parameters.model_fields
    ),
]


def settings_of(section: str, name: str) -> dict[str, Any]:
    """Settings of an item that has to have some, without the key of its name."""
    ((_, items),) = example(section, LISTED[section][name]).items()
    ((_, settings),) = items.items()
    if section == "fills":
        settings = settings["fill"] if isinstance(settings["fill"], dict) else {}
    return {key: value for key, value in settings.items() if key != KEYS[section]}


@pytest.mark.parametrize(
    ("section", "name"), [(section, entry.name) for section, registry in LISTED.items() for entry in registry]
)
def test_every_registered_item_comes_back_from_its_specification(section: str, name: str) -> None:
    registry = LISTED[section]
    item = registry.item(name, **settings_of(section, name))
    assert registry.from_spec(json.loads(json.dumps(item.spec()))) == item


@pytest.mark.parametrize(("section", "name", "key"), [(s, n, next(iter(k))) for s, n, k in INNER])
def test_every_item_comes_back_with_every_item_inside(section: str, name: str, key: str) -> None:
    registry = LISTED[section]
    inside, known = {
        "fill": ("fills", FILLS),
        "measures": ("stability", STABILITY_MEASURES),
        "explainer": ("explainers", EXPLAINERS),
    }[key]
    accepted = 0
    for entry in known:
        inner = known.item(entry.name, **settings_of(inside, entry.name))
        given = (inner,) if key == "measures" else inner
        try:
            item = registry.item(name, **settings_of(section, name) | {key: given})
        except ValidationError:  # soft masks with an imputer, explainers without a gradient
            continue
        accepted += 1
        found = registry.from_spec(json.loads(json.dumps(item.spec())))
        assert found == item
        assert [one for _, one in items_inside(found.parameters)] == [inner]
        as_written = {KEYS[inside]: inner.name, **settings_of(inside, entry.name)}
        again = registry.item(
            name, **settings_of(section, name) | {key: [as_written] if key == "measures" else as_written}
        )
        assert again == item
        assert again.spec() == item.spec()
    assert accepted >= min(len(known), 6)


@pytest.mark.parametrize("entry", FILLS, ids=FILLS.names)
def test_fills_are_keys(entry: Any) -> None:
    settings = settings_of("fills", entry.name)
    assert {FILLS.item(entry.name, **settings): 1}[FILLS.item(entry.name, **settings)] == 1


@pytest.mark.parametrize(
    ("section", "settings", "message"),
    [
        ("metrics", "{metric: saco, fill: blurr}", "metrics.inner.fill: unknown fill 'blurr' (did you mean 'blur'?)"),
        (
            "metrics",
            "{metric: saco, fill: {nam: blur}}",
            "metrics.inner.fill: fill {'nam': 'blur'} has no key 'name'; known: ",
        ),
        (
            "metrics",
            "{metric: saco, fill: [blur]}",
            "metrics.inner.fill: give the name of a fill, or a mapping with the key",
        ),
        (
            "metrics",
            "{metric: saco, fill: {name: blur, sigma: -1}}",
            "metrics.inner.fill: fill 'blur': sigma: Input should be greater than 0; its settings are kernel, sigma",
        ),
        (
            "sanity",
            "{check: random_logit, measures: [ssim, spearmann]}",
            "sanity.inner.measures.1: unknown stability measure 'spearmann' (did you mean 'spearman'?)",
        ),
        (
            "sanity",
            "{check: random_logit, measures: [{measure: ssim, windw: 3}]}",
            "sanity.inner.measures.0: stability measure 'ssim': windw: Extra inputs are not permitted",
        ),
        (
            "attacks",
            "{attack: top_k_attack, explainer: atention_rollout}",
            "attacks.inner.explainer: unknown explainer 'atention_rollout' (did you mean 'attention_rollout'?)",
        ),
        (
            "attacks",
            "{attack: top_k_attack, arguments: {head_fusion: none}}",
            "attacks.inner.explainer: explainer 'attention_rollout': head_fusion: Input should be",
        ),
        (
            "attacks",
            "{attack: top_k_attack, explainer: {explainer: raw_attention}, arguments: {layer: 1}}",
            "attacks.inner: Value error, arguments: the explainer has its settings beside its name",
        ),
        (
            "attacks",
            "{attack: top_k_attack, explainer: rise}",
            "attacks.inner.explainer: Value error, explainer 'rise' has no",
        ),
    ],
)
def test_a_wrong_item_is_one_message_that_names_the_key(section: str, settings: str, message: str) -> None:
    raw = read_yaml(ROOT / "config" / "tiny.yaml")
    raw[section] = {"clean": {}} if section == "attacks" else {}
    raw[section]["inner"] = yaml.safe_load(settings)
    with pytest.raises(ConfigError) as caught:
        load_study(raw)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_items_are_found_at_any_depth_and_shown_by_what_differs() -> None:
    inks: Registry = Registry("ink")
    pens: Registry = Registry("pen")

    class Ink(Parameters):
        shade: float = 1.0

    class Pen(Parameters):
        ink: Annotated[Item, ItemOf(inks, key="ink")] = Field("blue", validate_default=True)
        spare: tuple[Annotated[Item, ItemOf(inks, key="ink")], ...] = Field(("blue",), validate_default=True)

    class Case(Parameters):
        pen: Annotated[Item, ItemOf(pens, key="pen")] = Field("fountain", validate_default=True)

    inks.register("blue", parameters=Ink)(lambda: None)
    pens.register("fountain", parameters=Pen)(lambda: None)
    plain, dark = Case(), Case(pen={"pen": "fountain", "spare": ["blue", {"ink": "blue", "shade": 2}]})
    assert [place for place, _ in items_inside(dark)] == ["pen", "pen.ink", "pen.spare.0", "pen.spare.1"]
    assert str(plain.pen) == "fountain"
    assert str(dark.pen) == "fountain(spare=('blue', 'blue(shade=2.0)'))"
    assert Case.model_validate(json.loads(dark.model_dump_json())) == dark
    assert Case.model_validate({"pen": {"pen": "fountain"}}) == plain
    assert fill_of(dark) is None

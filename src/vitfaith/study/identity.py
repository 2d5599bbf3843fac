"""Identity of a job: its specification and the fingerprint of its code. A change of either runs it again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from vitfaith.fingerprint import fingerprint
from vitfaith.nested import items_inside
from vitfaith.plugins import plugin_module
from vitfaith.shipped import named
from vitfaith.study.contents import contents
from vitfaith.study.listing import LISTED
from vitfaith.study.plan import Plan
from vitfaith.study.specs import SPECS

USED: dict[str, tuple[tuple[str, str], ...]] = {
    "shard": (("datasets", "reader"),),
    "train_classifier": (("datasets", "train_on"), ("datasets", "test_on"), ("fills", "fill")),
    "train_denoiser": (("datasets", "train_on"), ("datasets", "test_on")),
    "train_diffmask": (("datasets", "train_on"), ("datasets", "test_on")),
    "train_shapley": (("datasets", "train_on"), ("datasets", "test_on")),
    "attack": (("attacks", "attack"), ("smoothings", "smoothing")),
    "denoise": (("smoothings", "smoothing"),),
    "attribute": (("explainers", "methods"), ("smoothings", "smoothing")),
    "score": (("metrics", "metrics"),),
    "stability": (("stability", "measures"),),
    "sanity": (("explainers", "methods"), ("sanity", "checks")),
    "certify": (("certificates", "certificates"),),
    "figures": (("figures", "figure"),),
}
"""Stage → pairs of a registry and the key of the stage's specification that names the items in use."""

STOP = ("vitfaith.registries", "vitfaith.register")
"""Modules that name every registry; a job's code follows them to none."""


def spec_of(plan: Plan, stage: str, wildcards: Mapping[str, str]) -> str:
    """Everything that a job of ``stage`` depends on beside its input files, as canonical JSON.

    Where a registered item of a plugin is used, the key ``plugins`` names its file, which the job loads. The key
    ``contents`` holds digests of the files outside the results that decide the job's result.
    """
    return _spec_of(plan, stage, _alike(stage, wildcards))


def _alike(stage: str, wildcards: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Wildcards that determine a job's specification: all but the shard, which only matters where its images are chosen."""
    return tuple((name, "" if name == "shard" and stage != "shard" else value) for name, value in wildcards.items())


@cache  # tens of thousands of jobs share a few hundred
def _spec_of(plan: Plan, stage: str, items: tuple[tuple[str, str], ...]) -> str:
    wildcards = dict(items)
    spec = SPECS[stage](plan, **wildcards)
    plugins, files = _plugins(plan, spec), contents(plan, stage, wildcards)
    return canonical(
        spec | ({"plugins": list(map(str, plugins))} if plugins else {}) | ({"contents": files} if files else {})
    )


def code_of(plan: Plan, stage: str, wildcards: Mapping[str, str]) -> str:
    """Fingerprint of the code behind a job: its stage's modules and the modules of the registered items it uses."""
    if plan.study.code_tracking == "off":
        return "off"
    return _fingerprint(stage, *_covered(plan, stage, _alike(stage, wildcards)))


@cache
def _covered(plan: Plan, stage: str, items: tuple[tuple[str, str], ...]) -> tuple[frozenset[str], tuple[Path, ...]]:
    """Modules and plugins behind a job, beside its stage's modules."""
    spec = SPECS[stage](plan, **dict(items)) if stage in USED or plan.study.plugins else {}
    return frozenset(_modules(stage, spec)), tuple(_plugins(plan, spec))


def canonical(value: Any) -> str:
    """JSON with sorted keys: equal settings give equal text, whatever their order in the YAML and the place of the package."""
    return json.dumps(named(value), sort_keys=True, separators=(",", ":"))


def texts_in(value: Any) -> set[str]:
    """All strings of a specification, at any depth; keys of mappings are none of them."""
    if isinstance(value, str):
        return {value}
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    return set().union(*map(texts_in, inner))


@cache  # thousands of jobs share a few sets of modules
def _fingerprint(stage: str, modules: frozenset[str], plugins: tuple[Path, ...]) -> str:
    own = sorted(m for m in modules if m.startswith("vitfaith."))
    return fingerprint([f"vitfaith.stages.{stage}", *own], stop=STOP, files=plugins)


def _modules(stage: str, spec: Mapping[str, Any]) -> set[str]:
    """Modules of the registered items that a specification names, and of the items in their settings."""
    found: set[str] = set()
    for section, key in USED.get(stage, ()):
        named = spec.get(key, {})
        for item in [named] if "use" in named else named.values():
            found |= _modules_of_item(section, canonical(item))
    return found


@cache  # thousands of jobs share a few items
def _modules_of_item(section: str, spec: str) -> frozenset[str]:
    item = LISTED[section].from_spec(json.loads(spec))
    return frozenset(one.entry.module for one in (item, *(inner for _, inner in items_inside(item.parameters))))


def _plugins(plan: Plan, spec: Mapping[str, Any]) -> list[Path]:
    """The plugins that registered something which a specification names, at any depth (an item inside an item too)."""
    if not plan.study.plugins:
        return []
    named = texts_in(spec)
    return [path for path in plan.study.plugins if _registered_by(plan, path) & named]


@cache
def _registered_by(plan: Plan, plugin: Path) -> set[str]:
    """Names that a plugin entered when ``plan``'s study was read."""
    module = plugin_module(plugin)
    return {entry.name for registry in LISTED.values() for entry in registry if entry.module == module}

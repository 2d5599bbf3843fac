"""From YAML to a checked study: every key, reference and value, with an error that names the key and the way out."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import yaml
from pydantic import BaseModel

from vitfaith.attacks.registry import check_bound
from vitfaith.errors import ConfigError, did_you_mean
from vitfaith.plugins import load_plugin
from vitfaith.registries import DISCRIMINATORS, REGISTRIES
from vitfaith.registry import Item
from vitfaith.shipped import located
from vitfaith.study.axes import written_out
from vitfaith.study.references import check_references
from vitfaith.study.sections import (
    ComputeSection,
    DatasetSection,
    DenoiserSection,
    Experiment,
    FiguresSection,
    ModelSection,
    StatisticsSection,
)
from vitfaith.study.study import Study
from vitfaith.study.targets import with_values
from vitfaith.study.values import validate

_ID = re.compile(r"[a-z0-9][a-z0-9_.+-]*")

FIXED: dict[str, type[BaseModel]] = {"statistics": StatisticsSection, "compute": ComputeSection}
NAMED: dict[str, type[BaseModel]] = {"models": ModelSection, "denoisers": DenoiserSection, "experiments": Experiment}

_TRACKING = {"digest": "digest", "off": "off", "no": "off", "false": "off"}
"""Accepted values of ``code_tracking``, in lower case; YAML reads ``off`` and ``no`` as false."""

RESERVED = {("attacks", "clean"): "clean", ("smoothings", "none"): "none", ("explainers", "random"): "random"}
"""(section, id) → the registered item that the id must stand for: paths and tables rely on it."""

_LONGEST_ID = 100
"""Characters; ids become parts of file names, which end at 255 bytes."""

KEYS = ("seed", "code_tracking", "plugins", *REGISTRIES, *FIXED, *NAMED)


def _section(raw: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = raw.get(name) or {}
    if not isinstance(value, Mapping):
        raise ConfigError(f"{name}: expected a mapping of ids to settings, found {type(value).__name__}")
    for key in value:
        if not _ID.fullmatch(str(key)):
            raise ConfigError(f"{name}.{key}: ids become folder names: use lower-case letters, digits, and _ . + -")
        if len(str(key)) > _LONGEST_ID:
            raise ConfigError(f"{name}.{key}: ids become file names: use at most {_LONGEST_ID} characters")
    return {str(k): ({} if v is None else v) for k, v in value.items()}


def instance(section: str, id_: str, raw: Any, *, also: Iterable[str] = ()) -> Item:
    """The entry ``id_`` of a registered section, checked against its parameter model."""
    where = f"{section}.{id_}"
    if not isinstance(raw, Mapping):
        raise ConfigError(f"{where}: expected a mapping of settings, found {type(raw).__name__}")
    key = DISCRIMINATORS[section]
    settings = {k: v for k, v in raw.items() if k != key}
    name = str(raw.get(key, id_))
    if RESERVED.get((section, id_), name) != name:
        raise ConfigError(f"{where}: the id '{id_}' is reserved for {key} '{id_}', found '{name}'; choose another id")
    try:
        entry = REGISTRIES[section][name]
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error
    try:
        parameters = validate(entry.parameters, settings, where, also=(key, *also))
        if section == "attacks":
            check_bound(entry.traits["bound"](parameters))
        return Item(entry, parameters, id_)
    except ConfigError as error:
        text = str(error)
        raise (error if text.startswith(where) else ConfigError(f"{where}: {text}")) from error


def _dataset(id_: str, raw: Mapping[str, Any]) -> tuple[Item, DatasetSection]:
    if not isinstance(raw, Mapping):
        raise ConfigError(f"datasets.{id_}: expected a mapping of settings, found {type(raw).__name__}")
    own = {k: v for k, v in raw.items() if k in DatasetSection.model_fields}
    rest = {k: v for k, v in raw.items() if k not in own}
    reader = instance("datasets", id_, rest, also=DatasetSection.model_fields)
    return reader, validate(DatasetSection, own, f"datasets.{id_}")


def load_study(raw: Mapping[str, Any]) -> Study:
    """Check a whole configuration (the parsed YAML).

    Raises:
        ConfigError: one line a problem: the key, what is wrong, what to write instead.
    """
    raw = located(raw)
    for key in raw:
        if key not in KEYS:
            raise ConfigError(f"{key}: unknown section{_meant(str(key))}; known: {', '.join(KEYS)}")
    plugins = load_plugins(raw.get("plugins") or [])
    seed = raw.get("seed", 0)
    if not isinstance(seed, int) or isinstance(seed, bool):
        raise ConfigError(f"seed: expected an integer, found {seed!r}")
    tracking = _TRACKING.get(str(raw.get("code_tracking", "digest")).lower())
    if tracking is None:
        raise ConfigError(f"code_tracking: 'digest' or 'off', found {raw['code_tracking']!r}")
    figures = _section(raw, "figures")
    style = validate(FiguresSection, {"style": figures.pop("style", {})}, "figures")
    registered = {
        name: {id_: instance(name, id_, value) for id_, value in _section(raw, name).items()}
        for name in ("attacks", "smoothings", "explainers", "metrics", "stability", "sanity", "certificates")
    }
    named = {
        name: {id_: validate(model, value, f"{name}.{id_}") for id_, value in _section(raw, name).items()}
        for name, model in NAMED.items()
    }
    fixed = {name: validate(model, raw.get(name) or {}, name) for name, model in FIXED.items()}
    study = Study(
        seed=seed,
        code_tracking=tracking,
        plugins=plugins,
        datasets={id_: _dataset(id_, value) for id_, value in _section(raw, "datasets").items()},
        figures={id_: instance("figures", id_, value) for id_, value in figures.items()},
        style=style,
        **cast("dict[str, Any]", {**registered, **named, **fixed}),
    )
    study = replace(study, experiments=written_out(study))
    study = replace(study, experiments=with_values(study))
    check_references(study)
    return study


def _meant(key: str) -> str:
    """The place of a key that is not a section."""
    for place, model in (("an experiment", Experiment), ("a dataset", DatasetSection), ("a model", ModelSection),
                         ("compute", ComputeSection), ("statistics", StatisticsSection)):  # fmt: skip
        if key in model.model_fields:
            return f" (it is a key of {place})"
    return did_you_mean(key, KEYS)


def load_plugins(raw: Any) -> tuple[Path, ...]:
    """The plugin files that a study lists, imported in their order.

    Raises:
        ConfigError: it is no list of files, two have one name, or one cannot be imported.
    """
    if not isinstance(raw, list) or not all(isinstance(item, str) for item in raw):
        raise ConfigError(f"plugins: expected a list of Python files, found {raw!r}")
    paths = tuple(map(Path, raw))
    for index, path in enumerate(paths):
        twin = next((other for other in paths[:index] if other.stem == path.stem), None)
        if twin is not None:
            raise ConfigError(f"plugins: '{twin}' and '{path}' have one name; rename one of them")
        load_plugin(path)
    return paths


class _Loader(yaml.SafeLoader):
    """The safe loader, which also refuses duplicate keys; YAML would silently take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                continue
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key '{key}' is given twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
        ConfigError: no such file, not UTF-8, no YAML (with the line), a key given twice, or no mapping of sections.
    """
    try:
        raw = yaml.load(path.read_text(encoding="utf-8-sig"), _Loader)  # a safe loader
    except FileNotFoundError:
        raise ConfigError(f"config file '{path}' does not exist") from None
    except OSError as error:
        raise ConfigError(f"config file '{path}' cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"config file '{path}' is not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"config file '{path}' is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(raw, dict):
        raise ConfigError(f"config file '{path}' must hold sections ({', '.join(KEYS)})")
    return raw

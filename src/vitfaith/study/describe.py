"""All that the registries know of one item, as text."""

from __future__ import annotations

import inspect
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from vitfaith.errors import ConfigError, did_you_mean
from vitfaith.registry import Entry, Item
from vitfaith.study.listing import KEYS, LISTED, columns, kind_of, registry_of
from vitfaith.study.sections import DatasetSection

_PLAIN = {int: "integer", float: "number", bool: "true or false", str: "text", Path: "path", Any: "anything"}

_EXAMPLES: dict[str, Any] = {
    "path": "my_file.parquet",
    "folder": "my_folder",
    "preprocessing": "chefer_resize",
    "annotations": "my_annotations.json",
    "objects": ["person"],
    "classes": {"cat": ["cats"]},
    "backgrounds": "my_backgrounds",
    "size": 224,
    "name": "PGD",
    "sigma": 0.25,
    "denoiser": "my_denoiser",
    "weights": "my_diffmasks",
}
"""A value for every setting that has no default."""

_ALSO: dict[str, dict[str, Any]] = {"preprocessing": {"size": 224}, "adaptive_pgd": {"through": "dds"}}
"""Setting or item → settings that it cannot do without."""


def find(name: str, section: str | None = None) -> tuple[str, Entry]:
    """(section, entry) of a registered item.

    Args:
        name: the item's name.
        section: where it is looked for; without it in all sections.

    Raises:
        ConfigError: there is no such item (with the nearest name), or several sections have one.
    """
    if section is not None:
        return section, registry_of(section)[name]
    found = [section for section, registry in LISTED.items() if name in registry]
    if len(found) > 1:
        ways = ", ".join(f"vitfaith show {section} {name}" for section in found)
        raise ConfigError(f"'{name}' is in several sections; write one of: {ways}")
    if not found:
        hint = did_you_mean(name, (entry.name for registry in LISTED.values() for entry in registry))
        if name in LISTED:
            hint = f" (it is a section: vitfaith list {name})"
        raise ConfigError(f"nothing is called '{name}'{hint}; vitfaith list prints the sections")
    return found[0], LISTED[found[0]][name]


def plain_type(annotation: Any) -> str:
    """A type in words: ``tuple[int, ...] | None`` is "list of integers or none"."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation is Item:
        return "text or mapping"
    if origin is Annotated:
        return plain_type(arguments[0])
    if origin is Literal:
        return " | ".join(map(str, arguments))
    if origin in (Union, UnionType):
        options = dict.fromkeys(plain_type(a) for a in arguments if a is not NoneType)
        if NoneType in arguments:
            options["none"] = None
        return " or ".join(options)
    if origin in (tuple, list, frozenset, set):
        inner = plain_type(arguments[0]) if arguments else "anything"
        return f"list of {inner}s" if inner in ("integer", "number", "path") else f"list of {inner}"
    if origin is dict or annotation is dict:
        return "mapping"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "mapping"
    return _PLAIN.get(annotation, getattr(annotation, "__name__", str(annotation)))


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        return "settings of its own"
    return "default " + _flow(_simple(value))


def _simple(value: Any) -> Any:
    if isinstance(value, tuple | list | set | frozenset):
        return [_simple(item) for item in value]
    if isinstance(value, dict):
        return {key: _simple(item) for key, item in value.items()}
    if isinstance(value, float):
        return float(f"{value:.6g}")
    return str(value) if isinstance(value, Path) else value


def _flow(value: Any) -> str:
    """YAML in one line."""
    if value is None:
        return "none"
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10_000, allow_unicode=True)
    return text.removesuffix("...\n").strip()


def example(section: str, entry: Entry) -> dict[str, Any]:
    """A configuration with the item alone: section → id → settings, those without a default filled in."""
    settings = {
        key: _EXAMPLES[key] for key, field in entry.parameters.model_fields.items() if field.is_required()
    }  # every such key has an example: a test
    for key in (entry.name, *settings):
        settings = settings | _ALSO.get(key, {})
    if section == "fills":
        fill = {"name": entry.name, **settings} if settings else entry.name
        return {"metrics": {"deletion_auc": {"fill": fill}}}
    if section == "datasets":
        return {section: {"mine": {KEYS[section]: entry.name, **settings}}}
    return {section: {entry.name: settings}}


def example_text(section: str, entry: Entry) -> str:
    """That configuration as YAML, one line an entry."""
    lines = []
    for name, items in example(section, entry).items():
        lines += [f"{name}:", *(f"  {id_}: {_flow(settings)}" for id_, settings in items.items())]
    return "\n".join(lines)


def _settings(model: type[BaseModel], width: int) -> Iterator[str]:
    rows = []
    for name, field in model.model_fields.items():
        annotation = field.annotation
        rows.append((name, f"{plain_type(annotation)}, {_default(field)}"))
        rows.append(("", field.description or ""))
    yield from columns(rows, width)


def _without_markup(text: str) -> str:
    """Text without the marks of reStructuredText."""
    return re.sub(r"(?::\w+:)?`{1,2}~?([^`]+)`{1,2}", r"\1", text)


def _filled(text: str, width: int) -> str:
    """A paragraph within ``width`` columns; where lines are indented (what is returned, raised) each is kept apart."""
    if "\n " not in text:
        return textwrap.fill(" ".join(text.split()), width)
    indents = [" " * (len(line) - len(line.lstrip())) for line in text.splitlines()]
    lines = zip(text.splitlines(), indents, strict=True)
    return "\n".join(textwrap.fill(line, width, subsequent_indent=indent + "  ") for line, indent in lines)


def code_file(entry: Entry) -> str:
    """The file that defines an item, from the repository's root; a plugin's as it was given."""
    if entry.module.startswith("vitfaith."):
        return f"src/{entry.module.replace('.', '/')}.py"
    return str(getattr(sys.modules[entry.module], "__file__", entry.module))


def describe(section: str, name: str, *, cost: str = "", width: int = 80) -> str:
    """What the registries know of an item: what it does, formula, source, settings, an example.

    Args:
        section: configuration section, or ``fills``.
        name: name of the registered item.
        cost: a sentence on its cost, which only a count with torch knows.
        width: columns of the text.

    Raises:
        ConfigError: there is no such section or item.
    """
    _, entry = find(name, section)
    kind = kind_of(section, entry)
    doc = _without_markup(inspect.cleandoc(entry.implementation.__doc__ or "")).split("\n\n")
    blocks = [f"{entry.name} ({section}{', ' + kind if kind else ''})"]
    blocks += [_filled(text, width) for text in doc if text]
    facts = [
        ("formula", str(entry.traits.get("formula", ""))),
        ("values", str(entry.traits.get("value_range", ""))),
        ("needs", ", ".join(sorted(map(str, entry.traits.get("needs", ()))))),
        ("cost", cost or str(entry.traits.get("explanations", ""))),
        ("source", entry.citation),
        ("code", code_file(entry)),
    ]
    known = [(fact, text) for fact, text in facts if text]
    if known:
        blocks.append("\n".join(columns(known, width)))
    own = list(_settings(entry.parameters, width)) if entry.parameters.model_fields else ["  none"]
    blocks.append("\n".join(["settings", *own]))
    if section == "datasets":
        blocks.append("\n".join(["settings of every dataset", *_settings(DatasetSection, width)]))
    blocks.append("\n".join(["example", textwrap.indent(example_text(section, entry), "  ")]))
    return "\n\n".join(blocks) + "\n"

"""All that the registries know of one item, as text."""

from __future__ import annotations

import inspect
import re
import sys
import textwrap
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from vitfaith.errors import ConfigError, did_you_mean
from vitfaith.registry import Entry
from vitfaith.study.listing import KEYS, LISTED, columns, kind_of, registry_of
from vitfaith.study.sections import DatasetSection
from vitfaith.study.words import default_in_words, field_in_words, flow, simple

_EXAMPLES: dict[str, Any] = {
    "path": "my_file.parquet",
    "folder": "my_images",
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

_ALSO: dict[str, dict[str, Any]] = {
    "preprocessing": {"size": 224},
    "adaptive_pgd": {"through": "dds"},
    "cifar10": {"path": "cifar-10-python.tar.gz"},
    "cifar100": {"path": "cifar-100-python.tar.gz"},
    "csv": {"path": "my_images.csv"},
    "imagenet": {"path": "ILSVRC2012_img_val.tar"},
    "imagenet_segmentation": {"path": "gtsegs_ijcv.mat"},
    "vit_shapley": {"weights": "my_shapley_heads"},
}
"""Setting or item → settings that it cannot do without, or the usual name of its file."""

_SHOWN = 3
"""Optional settings that an example writes out, at their defaults."""


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


def example(section: str, entry: Entry) -> dict[str, Any]:
    """A configuration with the item alone: section → id → settings, required ones filled in and a few optional ones at their defaults."""
    fields = entry.parameters.model_fields
    settings = {key: _EXAMPLES[key] for key, field in fields.items() if field.is_required()}  # all have one: a test
    for key in (*settings, entry.name):
        settings = settings | _ALSO.get(key, {})
    if section == "datasets":
        return {section: {"mine": {KEYS[section]: entry.name, **settings}}}
    defaults = {key: field.get_default(call_default_factory=True) for key, field in fields.items()}
    written = {k: simple(v) for k, v in defaults.items() if k not in settings and _worth_writing(v)}
    settings |= dict(list(written.items())[:_SHOWN])
    if section == "fills":
        fill = {"name": entry.name, **settings} if settings else entry.name
        return {"metrics": {"deletion_auc": {"fill": fill}}}
    return {section: {entry.name: settings}}


def _worth_writing(default: Any) -> bool:
    return isinstance(default, str | int | float | tuple | list) and default not in ("", (), [])


def example_text(section: str, entry: Entry) -> str:
    """That configuration as YAML, one line an entry."""
    lines = []
    for name, items in example(section, entry).items():
        lines += [f"{name}:", *(f"  {id_}: {flow(settings)}" for id_, settings in items.items())]
    return "\n".join(lines)


def _settings(model: type[BaseModel], width: int) -> Iterator[str]:
    rows = []
    for name, field in model.model_fields.items():
        default = default_in_words(field)
        default = default if field.is_required() or default == "a group of settings" else f"default {default}"
        rows.append((name, f"{field_in_words(field)}, {default}"))
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
    """Description of an item from the registries: purpose, formula, source, settings, an example.

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

"""Short lists of what exists, from the registries."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from vitfaith.errors import ConfigError, did_you_mean
from vitfaith.metrics.fills.registry import FILLS
from vitfaith.registries import DISCRIMINATORS, REGISTRIES
from vitfaith.registry import Entry, Registry

LISTED: dict[str, Registry] = {**REGISTRIES, "fills": FILLS}
"""Sections that can be listed; ``fills`` are named inside metrics, without a section."""

KEYS: dict[str, str] = {**DISCRIMINATORS, "fills": "name"}
"""Section → the key that names the registered item."""

_BETTER = {"higher": "higher is better", "lower": "lower is better", "none": "neither is better"}
_INDENT = 2


def registry_of(section: str) -> Registry:
    """The registry of a section.

    Raises:
        ConfigError: there is no such section, with the nearest name.
    """
    if section not in LISTED:
        hint = did_you_mean(section, LISTED)
        if any(section in registry for registry in LISTED.values()):
            hint = f" (it names an item: vitfaith show {section})"
        raise ConfigError(f"unknown section '{section}'{hint}; known: {', '.join(LISTED)}")
    return LISTED[section]


def kind_of(section: str, entry: Entry) -> str:
    """The group that an item is listed in: family, direction, aim …; an empty string where a section has none."""
    traits = entry.traits
    if section == "attacks":
        return f"aims at the {str(traits['aims_at']).replace('_', ' ')}"
    if section in ("metrics", "stability"):
        return _BETTER[traits["direction"]]
    if section == "certificates":
        subject = traits["certifies"]
        return "certifies prediction and map" if subject == "both" else f"certifies the {subject}"
    kind: str = traits.get("family") or traits.get("category") or ""
    return kind


def listing(section: str) -> list[dict[str, Any]]:
    """One row an entry: name, summary, citation, traits, parameters with their defaults.

    Raises:
        ConfigError: there is no such section.
    """
    rows = []
    for entry in registry_of(section):
        fields = entry.parameters.model_fields
        defaults = {
            k: "required" if f.is_required() else f.get_default(call_default_factory=True) for k, f in fields.items()
        }
        traits = {k: sorted(v) if isinstance(v, frozenset | set) else v for k, v in entry.traits.items()}
        traits = {k: v for k, v in traits.items() if isinstance(v, str | int | float | bool | list | tuple | None)}
        rows.append(
            {
                KEYS[section]: entry.name,
                "summary": entry.summary,
                "citation": entry.citation,
                **traits,
                "parameters": {
                    k: v if isinstance(v, str | int | float | bool | None) else str(v) for k, v in defaults.items()
                },
            }
        )
    return rows


def columns(rows: Sequence[tuple[str, str]], width: int) -> Iterator[str]:
    """Lines of (name, text) in two columns; long texts go on below themselves, within ``width`` characters."""
    margin = _INDENT + max(len(name) for name, _ in rows) + 2
    for name, text in rows:
        lines = textwrap.wrap(text, max(width - margin, 20)) or [""]
        yield f"{'':{_INDENT}}{name:{margin - _INDENT}}{lines[0]}".rstrip()
        yield from (f"{'':{margin}}{line}" for line in lines[1:])


def sections_text(width: int = 80) -> str:
    """The sections and how many items each has."""
    rows = [(section, f"{len(registry):>3}") for section, registry in LISTED.items()]
    return "\n".join([*columns(rows, width), "", "vitfaith list SECTION, vitfaith show NAME"]) + "\n"


def listing_text(section: str, width: int = 80) -> str:
    """The items of a section as text of at most ``width`` columns: name and one sentence, grouped by kind.

    Raises:
        ConfigError: there is no such section.
    """
    groups: dict[str, list[tuple[str, str]]] = {}
    for entry in registry_of(section):
        groups.setdefault(kind_of(section, entry), []).append((entry.name, entry.summary))
    margin = max(len(entry.name) for entry in registry_of(section))
    lines = [f"{section} (key: {KEYS[section]})"]
    for kind, rows in groups.items():
        aligned = [(f"{name:{margin}}", text) for name, text in rows]
        lines += ["", *([kind] if kind else []), *columns(aligned, width)]
    return "\n".join([*lines, "", "vitfaith show NAME prints settings, formula, source, cost and an example."]) + "\n"

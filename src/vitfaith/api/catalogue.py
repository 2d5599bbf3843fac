"""What exists: names and descriptions of everything that is registered."""

from __future__ import annotations

import inspect
from fnmatch import fnmatchcase

from vitfaith.errors import ConfigError, did_you_mean
from vitfaith.metrics.fills.registry import FILLS
from vitfaith.registries import REGISTRIES
from vitfaith.registry import Entry, Registry

SECTIONS: dict[str, Registry] = {**REGISTRIES, "fills": FILLS}
"""Section → its registry."""


def available(section: str, pattern: str = "*") -> list[str]:
    """Names that are registered in a section, plugins included, in alphabetical order.

    Args:
        section: datasets, attacks, smoothings, explainers, metrics, stability, sanity, certificates, figures or fills.
        pattern: shell pattern, such as ``"*lrp*"``; upper and lower case differ.

    Raises:
        ConfigError: there is no such section.

    Example:
        >>> import vitfaith as vf
        >>> vf.available("explainers", "*lrp")
        ['attnlrp', 'cp_lrp', 'lrp', 'partial_lrp']
    """
    return sorted(name for name in _registry(section).names if fnmatchcase(name, pattern))


def describe(section: str, name: str) -> str:
    """What ``name`` computes, its settings with their defaults, and its source, as text.

    Args:
        section: see :func:`available`.
        name: a registered name.

    Raises:
        ConfigError: there is no such section or name; the text has the nearest one.

    Example:
        >>> import vitfaith as vf
        >>> print(vf.describe("metrics", "saco").splitlines()[0])
        saco (metrics)
    """
    entry = _registry(section)[name]
    parts = [f"{name} ({section})", inspect.cleandoc(entry.implementation.__doc__ or "")]
    facts = [
        f"{key}: {entry.traits[key]}"
        for key in ("family", "direction", "formula", "value_range")
        if entry.traits.get(key)
    ]
    parts += ["\n".join(facts), _settings(entry), f"Source: {entry.citation}" if entry.citation else ""]
    return "\n\n".join(part for part in parts if part)


def _registry(section: str) -> Registry:
    if section not in SECTIONS:
        raise ConfigError(f"no section '{section}'{did_you_mean(section, SECTIONS)}; known: {', '.join(SECTIONS)}")
    return SECTIONS[section]


def _settings(entry: Entry) -> str:
    lines = []
    for key, field in entry.parameters.model_fields.items():
        default = "required" if field.is_required() else f"default {field.get_default(call_default_factory=True)!r}"
        lines.append(f"  {key} ({default})" + (f": {field.description}" if field.description else ""))
    return "\n".join(["Settings:", *lines]) if lines else ""

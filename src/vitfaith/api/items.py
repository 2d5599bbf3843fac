"""Items from what a caller writes: a name, names with settings, or a mapping of ids."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from vitfaith.errors import ConfigError, InputError
from vitfaith.registries import REGISTRIES
from vitfaith.registry import Item
from vitfaith.study.values import validate

Choice: TypeAlias = str | tuple[str, Mapping[str, Any]]
"""A registered name, or a name with settings, as in the configuration."""

Choices: TypeAlias = Choice | Sequence[Choice] | Mapping[str, Choice]
"""One choice, several, or id → choice."""


def items_of(section: str, choices: Choices, **defaults: Any) -> dict[str, Item]:
    """Id → item; the id of a choice without one is its name.

    Args:
        section: of the configuration.
        choices: what the caller wrote.
        defaults: settings for those items that take them.

    Raises:
        ConfigError: unknown name, or wrong settings.
        InputError: two items without ids have the same name, or a choice has another form.
    """
    if isinstance(choices, str) or _is_pair(choices):
        named: list[tuple[str | None, Any]] = [(None, choices)]
    elif isinstance(choices, Mapping):
        named = list(choices.items())
    elif isinstance(choices, Iterable):
        named = [(None, choice) for choice in choices]
    else:
        named = [(None, choices)]
    found: dict[str, Item] = {}
    for id_, choice in named:
        name, settings = (choice, {}) if isinstance(choice, str) else choice if _is_pair(choice) else (None, {})
        if not isinstance(name, str):
            raise InputError(f'{section}: {choice!r} is neither a name nor (name, {{"setting": value}})')
        entry = REGISTRIES[section][name]
        key = name if id_ is None else id_
        if not isinstance(key, str) or not key:
            raise InputError(f"{section}: id {key!r} is no text; give {{'mine': {choice!r}}}")
        if key in found:
            raise InputError(f"{section}: '{key}' is there twice; give ids: {{'{key}': …, 'another': …}}")
        own = {k: v for k, v in defaults.items() if k in entry.parameters.model_fields}
        found[key] = Item(entry, validate(entry.parameters, own | dict(settings), f"{section}.{key}"), key)
    return found


def item_of(section: str, name: str, settings: Mapping[str, Any], **defaults: Any) -> Item:
    """One item; errors as :func:`items_of`."""
    if not isinstance(name, str):
        raise ConfigError(f"{section}: give one name and its settings as keyword arguments, not {name!r}")
    return items_of(section, (name, settings), **defaults)[name]


def _is_pair(choice: Any) -> bool:
    return isinstance(choice, tuple | list) and len(choice) == 2 and isinstance(choice[1], Mapping)

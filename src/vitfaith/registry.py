"""Registries: what exists (explainers, metrics, attacks, smoothings, datasets, figures) under which name.

An entry is a function or class with a typed parameter model. The configuration schema, the listings, the
documentation tables and the property tests are all made from the registries, so adding an entry needs no rule.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

from vitfaith.errors import ConfigError, did_you_mean
from vitfaith.settings import Settings

Better = Literal["higher", "lower"]
"""Which values of a number are better."""

Direction = Literal[Better, "none"]
"""The same for a number that may be a diagnostic, of which no value is better."""


class Parameters(Settings):
    """Base of every parameter model: unknown keys are errors, values are frozen."""


@dataclass(frozen=True)
class Ids:
    """Marks a parameter that names entries of configuration sections: ``Annotated[str, Ids("denoisers")]``.

    One name, several, or the keys of a mapping. They are looked up when a configuration is read.
    """

    sections: tuple[str, ...]

    def __init__(self, *sections: str) -> None:
        object.__setattr__(self, "sections", sections)


def named_ids(parameters: Parameters) -> Iterator[tuple[str, tuple[str, ...], tuple[str, ...]]]:
    """(parameter, the ids it has, the sections they are of) for every parameter marked by :class:`Ids`."""
    for name, field_ in type(parameters).model_fields.items():
        for mark in field_.metadata:
            if isinstance(mark, Ids):
                value = getattr(parameters, name)
                yield name, () if value is None else (value,) if isinstance(value, str) else tuple(value), mark.sections


@dataclass(frozen=True)
class Entry:
    """One registered name.

    ``kind`` is the kind of its registry; ``name`` is unique there; a stage calls ``implementation``; ``parameters`` is the type of
    its settings; ``citation`` the paper; ``traits`` hold further facts of the registry (family, needs, direction …).
    """

    kind: str
    name: str
    implementation: Callable[..., Any]
    parameters: type[Parameters]
    citation: str
    traits: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def summary(self) -> str:
        """First line of the implementation's docstring."""
        return (self.implementation.__doc__ or "").strip().split("\n")[0]

    @property
    def module(self) -> str:
        """Dotted name of the module that defines the implementation (its code is part of the fingerprint)."""
        return self.implementation.__module__


@dataclass(frozen=True)
class Item:
    """An entry of a registry with settings: the one form of an item from the configuration to the function that uses it.

    ``id`` is the key that the configuration gives it; empty where it has none. Items are hashable where their settings are.

    Raises:
        ConfigError: the parameters are of another model than the entry takes.
    """

    entry: Entry
    parameters: Parameters
    id: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.parameters, self.entry.parameters):
            raise ConfigError(
                f"{self.entry.kind} '{self.id or self.name}': parameters are {type(self.parameters).__name__}, "
                f"but '{self.name}' takes {self.entry.parameters.__name__}"
            )

    @property
    def name(self) -> str:
        """The registered name."""
        return self.entry.name

    @property
    def implementation(self) -> Callable[..., Any]:
        """The registered function or class."""
        return self.entry.implementation

    @property
    def traits(self) -> Mapping[str, Any]:
        """The entry's facts in the registry."""
        return self.entry.traits

    def __str__(self) -> str:
        """The name, with the settings that differ from their defaults in brackets: ``blur(sigma=3.0)``."""
        changed = []
        for key, field_ in type(self.parameters).model_fields.items():
            value = _shown(getattr(self.parameters, key))
            if field_.is_required() or value != field_.get_default(call_default_factory=True):
                changed.append(f"{key}={value}")
        return self.name + (f"({' '.join(changed)})" if changed else "")

    def spec(self) -> dict[str, Any]:
        """Plain JSON values, defaults filled in; ``use`` names the entry. :meth:`Registry.from_spec` reads it."""
        return {"use": self.name, **self.parameters.model_dump(mode="json")}


def _shown(value: Any) -> Any:
    """A setting as its default is written: an item by its text, which is its name if it has no settings."""
    if isinstance(value, tuple):
        return tuple(map(_shown, value))
    return str(value) if isinstance(value, Item) else value


T = TypeVar("T", bound=Callable[..., Any])


class Registry(Generic[T]):
    """Name → :class:`Entry`, filled by decorators; iteration is in order of registration.

    Args:
        kind: one word or two for messages.
        words: trait → the words that it may be, or that each of its parts may be.
    """

    def __init__(self, kind: str, **words: Sequence[str]) -> None:
        self.kind = kind
        self._words = words
        self._entries: dict[str, Entry] = {}

    def register(
        self, name: str, *, parameters: type[Parameters] = Parameters, citation: str = "", **traits: Any
    ) -> Callable[[T], T]:
        """Decorator that enters a function or class under ``name``.

        Raises:
            ConfigError: ``name`` is taken, or a trait is not one of the registry's words.
        """
        for trait, words in self._words.items():
            given = traits.get(trait, ())
            for word in [given] if isinstance(given, str) else given:
                if word not in words:
                    hint = did_you_mean(word, words)
                    where = f"{self.kind} '{name}': {trait} = '{word}' is unknown"
                    raise ConfigError(f"{where}{hint}; choose from: {', '.join(words)}")

        def enter(implementation: T) -> T:
            known = self._entries.get(name)
            if known is not None and known.module != implementation.__module__:
                raise ConfigError(
                    f"{self.kind} '{name}' is registered twice: {known.module}, {implementation.__module__}"
                )
            self._entries[name] = Entry(self.kind, name, implementation, parameters, citation, dict(traits))
            return implementation

        return enter

    def __getitem__(self, name: str) -> Entry:
        try:
            return self._entries[name]
        except KeyError:
            hint = did_you_mean(name, self._entries)
            raise ConfigError(
                f"unknown {self.kind} '{name}'{hint}; known: {', '.join(sorted(self._entries))}"
            ) from None

    def item(self, name: str, /, **settings: Any) -> Item:
        """The entry ``name`` with settings; omitted settings have their defaults.

        Raises:
            ConfigError: no such entry.
            pydantic.ValidationError: settings that the entry does not take.
        """
        entry = self[name]
        return Item(entry, entry.parameters(**settings))

    def from_spec(self, spec: Mapping[str, Any], id_: str = "") -> Item:
        """The item whose :meth:`Item.spec` is ``spec``."""
        entry = self[spec["use"]]
        settings = {key: value for key, value in spec.items() if key != "use"}
        return Item(entry, entry.parameters(**settings), id_)

    def from_specs(self, specs: Mapping[str, Any]) -> dict[str, Item]:
        """Id → item, from the specifications of a section's entries."""
        return {id_: self.from_spec(spec, id_) for id_, spec in specs.items()}

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def names(self) -> list[str]:
        """All names in order of registration."""
        return list(self._entries)


def import_beside(package: str, path: Iterable[str]) -> None:
    """Import every module directly in ``package``, so that its registry is full whichever module was imported first.

    Sub-packages hold machinery and are left out.

    Args:
        package: dotted name.
        path: its ``__path__``.
    """
    for module in sorted(m.name for m in pkgutil.iter_modules(path) if not m.ispkg):
        importlib.import_module(f"{package}.{module}")

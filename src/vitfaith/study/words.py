"""Types, ranges and defaults of settings, in words: for the reference of the configuration and for `vitfaith show`."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import yaml
from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from vitfaith.registry import Item

_PLAIN = {int: "integer", float: "number", bool: "true or false", str: "text", Path: "path", Any: "anything"}

_SHORT = 8
"""Digits that a number may have before it is written as a fraction."""

_LARGEST_DENOMINATOR = 1000


def type_in_words(annotation: Any, marks: Iterable[Any] = ()) -> str:
    """A type in words: ``tuple[int, ...] | None`` is "list of integers or none".

    Args:
        annotation: the type.
        marks: bounds that hold for it, as pydantic keeps them in a field's ``metadata``.
    """
    origin, arguments, marks = get_origin(annotation), get_args(annotation), tuple(marks)
    if annotation is Item:
        return "text or mapping"
    if origin is Annotated:
        inner = [
            mark for given in arguments[1:] for mark in (given.metadata if isinstance(given, FieldInfo) else [given])
        ]
        return type_in_words(arguments[0], (*inner, *marks))
    if origin is Literal:
        return ("one of: " if len(arguments) > 1 else "") + ", ".join(map(str, arguments))
    if origin in (Union, UnionType):
        options = dict.fromkeys(type_in_words(a, marks) for a in arguments if a is not NoneType)
        if NoneType in arguments:
            options["none"] = None
        return " or ".join(options)
    if origin in (tuple, list, frozenset, set):
        return _list_in_words(arguments)
    if origin is dict or annotation is dict:
        return "mapping"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "mapping"
    word = _PLAIN.get(annotation, getattr(annotation, "__name__", str(annotation)))
    return f"{word} {bounds}" if annotation in (int, float) and (bounds := _bounds(marks)) else word


def _list_in_words(arguments: tuple[Any, ...]) -> str:
    inner = type_in_words(arguments[0]) if arguments else "anything"
    word, _, bounds = inner.partition(" ")
    inner = f"{word}s {bounds}".strip() if word in ("integer", "number", "path") else inner
    if arguments and ... not in arguments and len(arguments) > 1:
        return f"{len(arguments)} {inner}"
    return f"list of {inner}"


def _bounds(marks: Iterable[Any]) -> str:
    low, high = "", ""
    for mark in marks:
        if isinstance(mark, Ge):
            low = f"at least {number_text(mark.ge)}"
        elif isinstance(mark, Gt):
            low = f"above {number_text(mark.gt)}"
        elif isinstance(mark, Le):
            high = f"at most {number_text(mark.le)}"
        elif isinstance(mark, Lt):
            high = f"below {number_text(mark.lt)}"
    if low.startswith("at least") and high.startswith("at most"):
        return f"from {low[9:]} to {high[8:]}"
    return " and ".join(part for part in (low, high) if part)


def field_in_words(field: FieldInfo) -> str:
    """The type of a setting, with its bounds: "number from 0 to 1"."""
    return type_in_words(field.annotation, field.metadata)


def number_text(value: Any) -> str:
    """A number as a configuration writes it: long decimals that are a simple fraction as ``8/255``, large counts with commas."""
    if isinstance(value, float) and len(repr(value)) > _SHORT:
        fraction = Fraction(value).limit_denominator(_LARGEST_DENOMINATOR)
        if fraction.denominator > 1 and float(fraction) == value:
            return str(fraction)
        return f"{value:.6g}"
    if isinstance(value, float) and value.is_integer() and abs(value) < 10**6:
        return str(int(value))
    return f"{value:,}" if isinstance(value, int) and value >= 10_000 else str(value)


def simple(value: Any) -> Any:
    """``value`` in the types that YAML has; long decimals that are a simple fraction as text, ``8/255``."""
    if isinstance(value, Item):
        return value.name if str(value) == value.name else value.spec()
    if isinstance(value, tuple | list | set | frozenset):
        return [simple(item) for item in value]
    if isinstance(value, dict):
        return {key: simple(item) for key, item in value.items()}
    if isinstance(value, float) and len(repr(value)) > _SHORT:
        text = number_text(value)
        return text if "/" in text else float(text)
    return str(value) if isinstance(value, Path) else value


def flow(value: Any) -> str:
    """YAML in one line."""
    if value is None:
        return "none"
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10_000, allow_unicode=True)
    return text.removesuffix("...\n").strip()


def default_in_words(field: FieldInfo) -> str:
    """The default of a setting as a configuration writes it; "required" where there is none."""
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    return "a group of settings" if isinstance(value, BaseModel) else flow(simple(value))

"""The base of every typed group of settings: unknown keys are errors, and text becomes a number where one is expected.

YAML reads ``8/255`` and ``1e-1`` as text. Both become numbers where a setting takes a number, or anything at all; a
setting that takes text or a path keeps them, so that a folder ``2024/11`` stays a folder.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Le, Lt
from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator

MOST = 1_000_000
"""Largest count of anything (images in a batch, samples, steps …) in settings without their own bound."""

_FRACTION = re.compile(r"\s*([+-]?\d+(?:\.\d+)?)\s*/\s*(\d+(?:\.\d+)?)\s*")
_SCIENTIFIC = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)[eE][+-]?\d+\s*")


class Settings(BaseModel):
    """Base of parameter models and of configuration sections."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _numbers(cls, value: Any, info: ValidationInfo) -> Any:
        assert info.field_name is not None
        return with_numbers(value, cls.model_fields[info.field_name].annotation)

    @field_validator("*", mode="after")
    @classmethod
    def _counts(cls, value: Any, info: ValidationInfo) -> Any:
        assert info.field_name is not None
        bounded = any(isinstance(item, Le | Lt) for item in cls.model_fields[info.field_name].metadata)
        if not bounded and not info.field_name.endswith("seed"):
            for number in _whole_numbers(value):
                if abs(number) > MOST:
                    raise ValueError(f"{number:,} is beyond any count that can be computed; at most {MOST:,}")
        return value


def with_numbers(value: Any, expected: Any) -> Any:
    """``value`` with text such as ``"8/255"`` or ``"1e-1"`` replaced by numbers wherever the type ``expected`` has numbers.

    Raises:
        ValueError: a truth value where a number is expected, or a fraction that divides by zero.
    """
    options = list(_options(expected))
    literals = [choice for option in options if get_origin(option) is Literal for choice in get_args(option)]
    kinds = [option for option in options if isinstance(option, type)]
    anything = Any in options
    number = anything or int in kinds or float in kinds
    if isinstance(value, bool):
        if number and not anything and bool not in kinds and not any(value is choice for choice in literals):
            raise ValueError(f"{str(value).lower()} is no number")
        return value
    if isinstance(value, str):
        textual = value in literals or any(issubclass(kind, str | PurePath) for kind in kinds)
        return number_in(value) if number and not textual else value
    if isinstance(value, Mapping):
        inner = Any if anything else _inner(options, 1)
        return {key: with_numbers(item, inner) for key, item in value.items()}
    if isinstance(value, list | tuple):
        inner = Any if anything else _inner(options, 0)
        return [with_numbers(item, inner) for item in value]
    return value


def _whole_numbers(value: Any) -> Iterator[int]:
    if isinstance(value, int) and not isinstance(value, bool):
        yield value
    elif isinstance(value, Mapping):
        yield from (number for item in value.values() for number in _whole_numbers(item))
    elif isinstance(value, list | tuple):
        yield from (number for item in value for number in _whole_numbers(item))


def number_in(text: str) -> str | float:
    """The number that a fraction or a number in scientific notation stands for; other text as it is.

    Raises:
        ValueError: the fraction divides by zero.
    """
    if match := _FRACTION.fullmatch(text):
        if float(match[2]) == 0:
            raise ValueError(f"'{text}' divides by zero")
        return float(match[1]) / float(match[2])
    return float(text) if _SCIENTIFIC.fullmatch(text) else text


def _options(expected: Any) -> Iterator[Any]:
    """The types that ``expected`` allows, unions and annotations opened."""
    origin = get_origin(expected)
    if origin is Annotated:
        yield from _options(get_args(expected)[0])
    elif origin in (Union, UnionType):
        for option in get_args(expected):
            yield from _options(option)
    else:
        yield expected


def _inner(options: list[Any], place: int) -> Any:
    """Allowed types of a list's items (``place`` 0) or a mapping's values (1); None if unrestricted."""
    wanted = (dict, Mapping) if place else (list, tuple, set, frozenset, Sequence)
    found = [
        argument for o in options if get_origin(o) in wanted for argument in get_args(o)[place:] if argument is not ...
    ]
    return Union[tuple(found)] if found else None  # noqa: UP007  (made of a tuple)

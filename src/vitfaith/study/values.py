"""Settings as typed models, with errors that name the key."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from vitfaith.errors import ConfigError, did_you_mean

M = TypeVar("M", bound=BaseModel)


def validate(model: type[M], raw: Any, where: str, *, also: Iterable[str] = ()) -> M:
    """``raw`` as ``model``; errors become a :class:`ConfigError` whose lines name the key below ``where``.

    Args:
        also: further keys that are allowed beside the keys of ``model``; an unknown key may be a misspelling of one of them.
    """
    if not isinstance(raw, Mapping):
        raise ConfigError(f"{where}: expected a mapping of keys to values, found {type(raw).__name__}")
    try:
        return model.model_validate(dict(raw))
    except ValidationError as error:
        lines, found = [], error.errors(include_url=False)
        for item in found:
            if item["type"] == "too_short" and any(_is_inside(other["loc"], item["loc"]) for other in found):
                continue  # pydantic counts the right elements, and wrong ones are reported themselves
            key = ".".join([where, *map(str, item["loc"])])
            if item["type"] == "extra_forbidden":
                lines.append(f"{key}: unknown key{did_you_mean(str(item['loc'][-1]), (*model.model_fields, *also))}")
            elif item["type"] == "missing":
                lines.append(f"{key}: missing; {model.model_fields[str(item['loc'][0])].description or 'required'}")
            else:
                lines.append(f"{key}: {item['msg']} (found {item['input']!r})")
        raise ConfigError("\n".join(lines)) from error


def _is_inside(place: tuple[int | str, ...], group: tuple[int | str, ...]) -> bool:
    return len(place) > len(group) and place[: len(group)] == group

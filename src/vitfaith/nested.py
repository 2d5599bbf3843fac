"""Items inside the settings of other items: the fill of a metric, the measures of a check, the explainer that is attacked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel, GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError
from pydantic_core import PydanticCustomError, core_schema

from vitfaith.errors import ConfigError
from vitfaith.registry import Item, Registry


@dataclass(frozen=True)
class ItemOf:
    """Marks a setting that holds an item of a registry: ``Annotated[Item, ItemOf(FILLS, key="name")]``.

    A configuration writes the item's name, or a mapping of the name under ``key`` and settings: ``blur``,
    ``{name: blur, sigma: 3}``. All spellings of one item are equal once they are read, and written as :meth:`Item.spec`, which
    is read too. A default is a spelling, with ``Field(…, validate_default=True)``.
    """

    registry: Registry
    key: str

    def read(self, value: Any) -> Item:
        """The item that ``value`` stands for.

        Args:
            value: a name, a mapping with the name under ``key``, a specification, or an item.

        Raises:
            PydanticCustomError: unknown name, wrong settings, or another kind of value; a :class:`ValueError`.
        """
        kind, known = self.registry.kind, ", ".join(self.registry.names)
        if isinstance(value, Item) and value.entry.kind == kind:
            return replace(value, id="")
        if isinstance(value, str):
            value = {self.key: value}
        if not isinstance(value, Mapping):
            raise _wrong(f"give the name of a {kind}, or a mapping with the key '{self.key}'; known: {known}")
        name_key = "use" if "use" in value else self.key
        if name_key not in value:
            raise _wrong(f"{kind} {dict(value)} has no key '{self.key}'; known: {known}")
        name = str(value[name_key])
        try:
            return self.registry.item(name, **{str(k): v for k, v in value.items() if k != name_key})
        except ConfigError as error:
            raise _wrong(str(error)) from None
        except ValidationError as error:
            problem = error.errors()[0]
            fields = self.registry[name].parameters.model_fields
            raise _wrong(
                f"{kind} '{name}': {'.'.join(map(str, problem['loc']))}: {problem['msg']}; "
                f"its settings are {', '.join(sorted(fields)) or 'none'}"
            ) from None

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(
            self.read, serialization=core_schema.plain_serializer_function_ser_schema(Item.spec)
        )

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        name = {"type": "string"}
        return {"anyOf": [name, {"type": "object", "properties": {self.key: name}, "required": [self.key]}]}


def items_inside(parameters: BaseModel) -> Iterator[tuple[str, Item]]:
    """(place, item) of every item in these settings, at any depth: ``("fill", …)``, ``("measures.0", …)``."""
    for key in type(parameters).model_fields:
        yield from _items_in(getattr(parameters, key), key)


def _items_in(value: Any, place: str) -> Iterator[tuple[str, Item]]:
    if isinstance(value, Item):
        yield place, value
        yield from ((f"{place}.{inner}", item) for inner, item in items_inside(value.parameters))
    elif isinstance(value, tuple | list):
        for index, one in enumerate(value):
            yield from _items_in(one, f"{place}.{index}")


def _wrong(text: str) -> PydanticCustomError:
    return PydanticCustomError("item", "{problem}", {"problem": text})

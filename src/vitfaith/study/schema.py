"""The JSON schema of a configuration, generated from the parameter models; editors complete and check with it."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel

from vitfaith.registries import DISCRIMINATORS, REGISTRIES
from vitfaith.study.load import FIXED, NAMED
from vitfaith.study.sections import DatasetSection, FiguresSection

_NUMBER_OR_FRACTION = {
    "anyOf": [{"type": "number"}, {"type": "string", "pattern": r"^\s*\d+(\.\d+)?\s*/\s*\d+(\.\d+)?\s*$"}]
}


def _with_fractions(node: Any) -> Any:
    """Allow "8/255" wherever a number is allowed; bounds on the number stay."""
    if isinstance(node, dict):
        node = {k: _with_fractions(v) for k, v in node.items()}
        if node.get("type") == "number":
            number = {k: v for k, v in node.items() if k not in ("title", "description", "default")}
            rest = {k: v for k, v in node.items() if k in ("title", "description", "default")}
            return {**rest, "anyOf": [number, _NUMBER_OR_FRACTION["anyOf"][1]]}
        return node
    if isinstance(node, list):
        return [_with_fractions(v) for v in node]
    return node


def _model_schema(model: type[BaseModel], definitions: dict[str, Any]) -> dict[str, Any]:
    schema = model.model_json_schema(ref_template="#/$defs/{model}")
    definitions.update(schema.pop("$defs", {}))
    return schema


def config_schema() -> dict[str, Any]:
    """The schema as a JSON-like dictionary."""
    definitions: dict[str, Any] = {}
    properties: dict[str, Any] = {
        "seed": {"type": "integer", "default": 0, "description": "seed of every random number"},
        "code_tracking": {
            "enum": ["digest", "off"],
            "default": "digest",
            "description": "whether changed code reruns its stage",
        },
        "plugins": {
            "type": "array",
            "items": {"type": "string"},
            "description": "Python files that register your own items",
        },
    }
    for section, registry in REGISTRIES.items():
        key, options = DISCRIMINATORS[section], []
        for entry in registry:
            schema = _model_schema(entry.parameters, definitions)
            fields = {key: {"const": entry.name}, **schema.get("properties", {})}
            if section == "datasets":
                fields |= _model_schema(DatasetSection, definitions).get("properties", {})
            options.append(
                {
                    "title": entry.name,
                    "description": entry.summary,
                    "type": ["object", "null"],
                    "properties": fields,
                    "required": schema.get("required", []),
                    "additionalProperties": False,
                }
            )
        properties[section] = {"type": "object", "additionalProperties": {"anyOf": options}}
    properties["figures"]["properties"] = _model_schema(FiguresSection, definitions)["properties"]
    for section, model in NAMED.items():
        item = _model_schema(model, definitions)
        if not any(field.is_required() for field in model.model_fields.values()):
            item = {"anyOf": [item, {"type": "null"}]}
        properties[section] = {"type": "object", "additionalProperties": item}
    for section, model in FIXED.items():
        properties[section] = _model_schema(model, definitions)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "vitfaith study",
        "type": "object",
        "additionalProperties": False,
        "properties": _with_fractions(properties),
        "$defs": _with_fractions(definitions),
    }


def schema_text() -> str:
    """The schema as it stands in ``workflow/schemas/config.schema.json``."""
    return json.dumps(config_schema(), indent=2, sort_keys=True) + "\n"

"""The schema of a configuration: the stored file, and the shipped studies."""

from __future__ import annotations

import json
from pathlib import Path

from vitfaith.study.load import read_yaml
from vitfaith.study.schema import schema_text

ROOT = Path(__file__).resolve().parents[2]


def test_schema_file_is_what_the_models_say() -> None:
    stored = ROOT / "workflow" / "schemas" / "config.schema.json"
    assert stored.read_text() == schema_text(), f"run: python -m vitfaith schema > {stored.relative_to(ROOT)}"


def test_shipped_configs_satisfy_the_schema_too() -> None:
    from jsonschema.validators import validator_for

    schema = json.loads(schema_text())
    validator = validator_for(schema)
    validator.check_schema(schema)
    for path in sorted((ROOT / "config").glob("**/*.yaml")):
        validator(schema).validate(read_yaml(path))

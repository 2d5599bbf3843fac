"""docs/datasets.md names every reader, with an example that the configuration accepts."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from vitfaith.registries import REGISTRIES
from vitfaith.study.load import instance
from vitfaith.study.sections import DatasetSection

TEXT = (Path(__file__).parents[2] / "docs" / "datasets.md").read_text(encoding="utf-8")


def test_every_reader_has_an_example_that_holds() -> None:
    rows = re.findall(r"^\| `(\w+)` \|.*\| `(\{.*\})` \|$", TEXT, re.MULTILINE)
    for name, example in rows:
        settings = {k: v for k, v in yaml.safe_load(example).items() if k not in DatasetSection.model_fields}
        assert instance("datasets", "x", settings).name == name
    for entry in REGISTRIES["datasets"]:
        assert not set(entry.parameters.model_fields) & set(DatasetSection.model_fields), entry.name
    own = {e.name for e in REGISTRIES["datasets"] if e.module.startswith("vitfaith.")}
    assert {name for name, _ in rows} == own

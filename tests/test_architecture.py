"""docs/architecture.md names every noun and every verb, and each name leads to its files."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from vitfaith.api.results import PER_IMAGE
from vitfaith.registries import REGISTRIES

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
PACKAGE = ROOT / "src" / "vitfaith"
SECTIONS = ("models", "denoisers", "statistics")
"""Nouns without a registry."""


def rows(title: str) -> list[list[str]]:
    """Cells of the table below a heading, without its head."""
    section = TEXT.split(f"\n## {title}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]


NOUNS = {row[0].strip("`"): row for row in rows("Nouns")}
VERBS = [verb for row in rows("Verbs") for verb in re.findall(r"`(\w+)`", row[0])]


def test_every_section_is_a_noun() -> None:
    assert set(NOUNS) == {*REGISTRIES, *SECTIONS}


@pytest.mark.parametrize("noun", NOUNS)
def test_a_noun_has_a_package_and_tests(noun: str) -> None:
    _, package, _, tests, _ = NOUNS[noun]
    assert (PACKAGE / package.strip("`") / "__init__.py").is_file()
    assert (ROOT / tests.strip("`") / "__init__.py").is_file()
    assert package.strip("`") == f"{noun}/"
    assert tests.strip("`") == f"tests/{noun}"


def test_every_stage_is_a_verb() -> None:
    assert sorted(VERBS) == sorted(path.stem for path in (PACKAGE / "stages").glob("[a-z]*.py"))


def test_every_rule_is_a_verb_or_a_target() -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "rules").glob("*.smk"))
    assert sorted(re.findall(r"^rule (\w+):", text, re.MULTILINE)) == sorted(VERBS)


def test_the_files_that_the_page_names_exist() -> None:
    section = TEXT.split("\nNumbers that belong to no single item:\n")[1].split("\n## Nouns")[0]
    files = re.findall(r"`([\w/]+(?:\.py|/))`", section)
    assert len(files) > 10
    for file in files:
        if file.startswith("logs/"):  # made by runs
            continue
        assert (PACKAGE / file).exists() or (ROOT / file).exists(), file


def test_the_columns_that_name_an_item_are_in_the_files() -> None:
    section = TEXT.split("\n## The file behind a number\n")[1].split("\nNumbers that belong to no single item:\n")[0]
    found = 0
    for line in section.splitlines():
        folders, columns = re.findall(r"`(?:results/)?([a-z]+)`", line.split("|")[1]) if "| `" in line else [], []
        for folder in folders:
            columns = re.findall(r"`(\w+)`", line.split("|")[2])
            assert columns
            assert set(columns) <= set(PER_IMAGE[folder if folder != "attribute" else "maps"][1].names), line
            found += 1
    assert found >= 9


def test_every_layer_has_a_line() -> None:
    named = set(re.findall(r"`(\w+?)(?:/|\.py)`", TEXT))
    drawn = re.findall(r'^  L\d+\["(.+)"\]$', TEXT, re.MULTILINE)
    assert {name for layer in drawn for name in layer.split(" · ")} <= named


def test_the_links_of_the_page_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", TEXT):
        assert (ROOT / "docs" / target).resolve().exists(), target


def test_the_file_behind_a_number_is_where_the_page_says() -> None:
    for noun, registry in REGISTRIES.items():
        for entry in registry:
            assert entry.module.startswith(f"vitfaith.{noun}."), entry.name


def test_the_picture_of_the_layers_is_the_contract() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    layers = next(contract["layers"] for contract in contracts if contract["name"] == "Imports run down")
    drawn = re.findall(r'^  L\d+\["(.+)"\]$', TEXT, re.MULTILINE)
    assert [layer.split(" · ") for layer in drawn] == [layer.split(" | ") for layer in layers]

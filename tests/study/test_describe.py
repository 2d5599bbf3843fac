"""`vitfaith list` and `vitfaith show`: text for a terminal of 80 columns, and examples that load."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import pytest
import yaml
from pydantic import Field

import vitfaith
from vitfaith.check.cost import cost_text
from vitfaith.cli.main import main
from vitfaith.errors import ConfigError
from vitfaith.metrics.fills.registry import FILLS
from vitfaith.registries import DISCRIMINATORS
from vitfaith.settings import Settings, number_in
from vitfaith.study.describe import code_file, describe, example_text, find
from vitfaith.study.listing import LISTED, listing_text, sections_text
from vitfaith.study.load import instance
from vitfaith.study.sections import DatasetSection
from vitfaith.study.words import field_in_words, number_text, simple, type_in_words

ITEMS = [(section, entry.name) for section, registry in LISTED.items() for entry in registry]

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("section", LISTED)
def test_a_listing_names_every_item_within_80_columns(section: str) -> None:
    lines = listing_text(section, 80).splitlines()
    assert max(map(len, lines)) <= 80
    first_words = {line.split()[0] for line in lines if line.startswith("  ") and line[2] != " "}
    assert first_words == set(LISTED[section].names)


def test_sections_with_their_counts() -> None:
    counts = {words[0]: int(words[1]) for line in sections_text().splitlines()[:-2] if (words := line.split())}
    assert counts == {section: len(registry) for section, registry in LISTED.items()}


def test_explainers_are_grouped_by_family() -> None:
    text = listing_text("explainers", 80)
    one_pass = text.split("\none_pass\n")[1].split("\n\n")[0]
    assert "raw_attention" in one_pass
    assert "rise" not in one_pass


@pytest.mark.parametrize(("section", "name"), ITEMS)
def test_the_example_loads(section: str, name: str) -> None:
    raw = yaml.safe_load(example_text(section, LISTED[section][name]))
    ((given, items),) = raw.items()
    ((id_, settings),) = items.items()
    if section == "datasets":
        settings = {k: v for k, v in settings.items() if k not in DatasetSection.model_fields}
    item = instance(given, id_, settings)
    if section == "fills":
        assert item.parameters.fill.name == name  # type: ignore[attr-defined]
    else:
        assert given == section
        assert item.name == name


@pytest.mark.parametrize(("section", "name"), ITEMS)
def test_an_item_is_described_in_full(section: str, name: str) -> None:
    entry, text = LISTED[section][name], describe(section, name, width=80)
    assert text.startswith(f"{name} ({section}")
    assert "".join(entry.citation.split()) in "".join(text.split())
    file = code_file(entry)
    assert file in "".join(text.split())
    assert name in (ROOT / file).read_text(encoding="utf-8")
    for key, field in entry.parameters.model_fields.items():
        assert f"  {key} " in text
        assert field.description
        assert "".join(field.description.split()) in "".join(text.split())
    assert max(map(len, text.split("\nexample")[0].splitlines())) <= 80


def test_unknown_and_ambiguous_names() -> None:
    with pytest.raises(ConfigError, match=r"nothing is called 'sacco' \(did you mean 'saco'\?\)"):
        find("sacco")
    with pytest.raises(ConfigError, match=r"unknown metric 'sacco' \(did you mean 'saco'\?\)"):
        find("sacco", "metrics")
    with pytest.raises(ConfigError, match=r"unknown section 'metric' \(did you mean 'metrics'\?\)"):
        find("saco", "metric")
    with pytest.raises(ConfigError, match="vitfaith show stability top_k_overlap, vitfaith show figures top_k_overlap"):
        find("top_k_overlap")
    assert find("top_k_overlap", "stability")[0] == "stability"
    assert find("blur") == ("fills", FILLS["blur"])


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (int, "integer"),
        (float | None, "number or none"),
        (bool, "true or false"),
        (tuple[int, ...], "list of integers"),
        (tuple[str, ...] | None, "list of text or none"),
        (tuple[float, float], "2 numbers"),
        (tuple[Annotated[int, Field(ge=0, le=255)], Annotated[int, Field(ge=0, le=255)]], "2 integers from 0 to 255"),
        (Annotated[int, Field(ge=1)] | Literal["auto"], "integer at least 1 or auto"),
        (Literal["mean", "max"], "one of: mean, max"),
        (dict[str, int], "mapping"),
    ],
)
def test_types_in_words(annotation: object, words: str) -> None:
    assert type_in_words(annotation) == words


def test_bounds_in_words() -> None:
    class Bounded(Settings):
        share: float = Field(0.5, ge=0, le=1)
        eps: float = Field(8 / 255, gt=0, le=1)
        level: float = Field(0.9, gt=0.5, lt=1)
        count: int | None = Field(None, ge=1, le=100_000)
        seed: int = 0

    words = {name: field_in_words(field) for name, field in Bounded.model_fields.items()}
    assert words == {
        "share": "number from 0 to 1",
        "eps": "number above 0 and at most 1",
        "level": "number above 0.5 and below 1",
        "count": "integer from 1 to 100,000 or none",
        "seed": "integer",
    }


@pytest.mark.parametrize(
    ("value", "text"),
    [(8 / 255, "8/255"), (2 / 255, "2/255"), (15 / 224, "15/224"), (0.2, "0.2"), (0.0015, "0.0015"), (1.0, "1"), (3, "3"),
     (0.123456789, "0.123457"), (100_000, "100,000")],
)  # fmt: skip
def test_numbers_as_a_configuration_writes_them(value: float, text: str) -> None:
    assert number_text(value) == text


def test_a_written_fraction_is_read_back_as_the_same_number() -> None:
    assert simple({"eps": 8 / 255, "of": (0.5, Path("a/b"))}) == {"eps": "8/255", "of": [0.5, "a/b"]}
    assert number_in(str(simple(8 / 255))) == 8 / 255
    assert simple(FILLS.item("black")) == "black"
    assert simple(FILLS.item("blur", sigma=2))["sigma"] == 2


def test_cost_in_passes() -> None:
    assert cost_text("metrics", "saco") == "10 forwards per map and 1 forward per image"
    assert cost_text("metrics", "entropy") == "no pass"
    assert cost_text("explainers", "integrated_gradients") == "32 forwards per image and 32 backwards per image"
    assert (
        cost_text("explainers", "transformer_mm")
        == "1 forward per image and 1 backward per image, shared by all explainers of its family"
    )
    assert cost_text("attacks", "pgd") == ""


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["--version"], "vitfaith 0."),
        (["list"], "  explainers"),
        (["list", "attacks"], f"attacks (key: {DISCRIMINATORS['attacks']})"),
        (["show", "saco"], "10 forwards per map"),
        (["show", "figures", "top_k_overlap"], "top_k_overlap (figures, robustness)"),
    ],
)
def test_the_command_line(
    words: list[str], shown: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["vitfaith", *words])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 0
    assert shown in capsys.readouterr().out


def test_the_package_is_typed() -> None:
    from importlib.resources import files

    assert files(vitfaith).joinpath("py.typed").is_file()

"""The reference of the configuration: what the code says, in plain words, with examples that load."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from vitfaith.figures.drawing.style import Style
from vitfaith.metrics.fills.registry import FILLS
from vitfaith.registries import REGISTRIES
from vitfaith.study.load import FIXED, KEYS, NAMED, instance, load_study
from vitfaith.study.reference import FOLDER, INDEX, reference_pages, write_reference
from vitfaith.study.reference_texts import TITLES
from vitfaith.study.sections import DatasetSection
from vitfaith.study.values import validate

ROOT = Path(__file__).resolve().parents[2]
PAGES = reference_pages()


def blocks(text: str) -> list[dict[str, Any]]:
    """The YAML of a page, parsed."""
    return [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)]


@pytest.mark.parametrize("path", PAGES, ids=str)
def test_the_pages_are_what_the_code_says(path: Path) -> None:
    assert (ROOT / path).read_text(encoding="utf-8") == PAGES[path], "run: vitfaith reference"


def test_no_page_is_left_over(tmp_path: Path) -> None:
    assert {path.relative_to(ROOT) for path in (ROOT / FOLDER).iterdir()} == set(PAGES) - {INDEX}
    assert write_reference(tmp_path) == list(PAGES)
    assert (tmp_path / INDEX).read_text(encoding="utf-8") == PAGES[INDEX]


def test_every_section_has_a_page() -> None:
    assert {*TITLES} == {*KEYS, "fills"} - {"seed", "code_tracking", "plugins"}


@pytest.mark.parametrize("section", TITLES)
def test_every_item_has_an_example_that_loads(section: str) -> None:
    registry = FILLS if section == "fills" else REGISTRIES.get(section, {})
    seen = set()
    for raw in blocks(PAGES[FOLDER / f"{section}.md"]):
        ((given, entries),) = raw.items()
        if given in FIXED:
            validate(FIXED[given], entries, given)
            continue
        for id_, settings in entries.items():
            if given in NAMED:
                validate(NAMED[given], settings, id_)
            elif id_ == "style":
                validate(Style, settings, id_)
            else:
                item = instance(given, id_, {k: v for k, v in settings.items() if k not in DatasetSection.model_fields})
                seen.add(item.parameters.fill.name if section == "fills" else item.name)  # type: ignore[attr-defined]
    assert seen == {entry.name for entry in registry}


def test_the_smallest_study_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    (raw,) = blocks(PAGES[INDEX])
    assert list(load_study(raw).experiments) == ["first"]


@pytest.mark.parametrize("path", PAGES, ids=str)
def test_the_words_are_plain(path: Path) -> None:
    text = PAGES[path]
    assert not re.search(
        r"FieldInfo|Annotated|Literal\[|Optional\[|tuple\[|NoneType|PosixPath|0\.0313|(?<!`)``(?!`)", text
    )
    assert not [line for line in text.splitlines() if re.fullmatch(r"\| `.*\|\s+\|", line)], (
        "a setting without a meaning"
    )


def test_the_default_radius_is_a_fraction() -> None:
    assert "| `eps` | number | `8/255` |" in PAGES[FOLDER / "attacks.md"]


def test_the_links_lead_somewhere() -> None:
    for path, text in PAGES.items():
        anchors = set(re.findall(r"^### `(.+)`$", text, re.MULTILINE))
        for target in re.findall(r"\]\(([^)]+)\)", text):
            if target.startswith("#"):
                assert target[1:] in anchors, (path, target)
            else:
                assert (ROOT / path.parent / target).is_file(), (path, target)


def shared_table(text: str) -> dict[str, list[str]]:
    """Settings of the shared table of a page → the cells of their rows."""
    part = text.partition("## Shared settings")[2].partition("## Items")[0]
    rows = [[cell.strip() for cell in row.split(" | ")] for row in part.splitlines() if row.startswith("| `")]
    keys = [row[0].strip("|` ") for row in rows]
    assert len(keys) == len(set(keys)), f"a name stands twice in the shared table: {keys}"
    return dict(zip(keys, rows, strict=True))


@pytest.mark.parametrize("path", PAGES, ids=str)
def test_a_shared_setting_has_one_meaning_and_names_the_items_with_another(path: Path) -> None:
    shared = shared_table(PAGES[path])
    for item in PAGES[path].partition("## Items")[2].split("\n### ")[1:]:
        name = item.partition("`")[2].partition("`")[0]
        taken = re.findall(
            r"(?:Shared: |, )`(\w+)`", next((s for s in item.splitlines() if s.startswith("Shared: ")), "")
        )
        own = re.findall(r"^\| `(\w+)` \|", item.partition("```yaml")[0], re.MULTILINE)
        assert not {*taken} & {*own}
        assert {*taken} <= {*shared}, name
        for key in {*own} & {*shared}:
            assert f"[{name}](#{name})" in shared[key][-1], (name, key)


def test_settings_of_one_name_with_several_meanings_are_listed_with_their_items() -> None:
    text = PAGES[FOLDER / "explainers.md"]
    assert "start_layer" not in shared_table(text)
    assert text.count("first block of the product; the authors' evaluation scripts use 1") == 2
    assert "except in [grad_attention_rollout](#grad_attention_rollout)" in shared_table(text)["clamp"][-1]

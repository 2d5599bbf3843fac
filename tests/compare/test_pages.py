"""Pages of findings compared: numbers to their last digit, text exactly; and the list of pages names what exists."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from vitfaith.cli.main import app
from vitfaith.cli.reproduce import _link
from vitfaith.compare.pages import PageDifference, compare_pages, compare_tables, numbers_agree, with_tables
from vitfaith.compare.reproduced import LIST, Page, differences_text, page_named, read_pages, study_text
from vitfaith.errors import ArtifactError, ConfigError, VitfaithError
from vitfaith.study.jobs import jobs
from vitfaith.study.load import load_study
from vitfaith.study.plan import Plan

ROOT = Path(__file__).parents[2]
PAGES = read_pages(ROOT)


@given(st.integers(-(10**6), 10**6), st.integers(-30, 30), st.integers(1, 6), st.integers(0, 20))
def test_numbers_agree_within_units_of_the_last_digit(value: int, steps: int, decimals: int, units: int) -> None:
    first, second = (f"{Decimal(v).scaleb(-decimals):.{decimals}f}" for v in (value, value + steps))
    assert numbers_agree(first, second, units) == (abs(steps) <= units)
    assert numbers_agree(second, first, units) == numbers_agree(first, second, units)


@given(st.integers(-(10**9), 10**9), st.integers(-3, 3))
def test_integers_are_counts_and_must_be_equal(value: int, steps: int) -> None:
    assert numbers_agree(f"{value:,}", str(value + steps), units=9) == (steps == 0)


@pytest.mark.parametrize(
    ("first", "second", "agree"),
    [
        (".26", "0.27", True),
        ("−.26", "-0.27", True),
        ("−.01", ".01", False),
        ("0.5", "0.54", True),
        ("0.5", "0.65", False),
        ("48", "48.0", True),
        ("2e-05", "3e-05", True),
        ("2e-05", "4e-05", False),
    ],
)
def test_spellings(first: str, second: str, agree: bool) -> None:
    assert numbers_agree(first, second) is agree


PAGE = """# Findings on ViT-S/14

Accuracy 0.750 of n = 48 images, from 1,088; fine-tuned in 292 s.

| method | SaCo | seconds |
|---|---|---:|
| a_10 | **0.93** [−0.01, 0.96] | 12.3 |
| b | nan | 4 |
"""


def test_agreement_and_what_is_exempt() -> None:
    now = PAGE.replace("292 s", "301 s").replace("12.3", "19.9").replace("| 4 |", "| 7 |").replace("0.93", "0.94")
    now = now.replace("−0.01", "0.00").replace("|---|---|---:|", "| --- | --- | --- |")
    assert compare_pages(PAGE, now) == []
    assert [d.line for d in compare_pages(PAGE, now, units=0)] == [7]


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("0.93", "0.95", 7),
        ("n = 48", "n = 47", 3),
        ("a_10", "a_11", 7),
        ("nan", "0.10", 8),
        ("ViT-S/14", "ViT-S/16", 1),
        ("Accuracy", "Error", 3),
        ("1,088", "1,089", 3),
    ],
)
def test_a_difference_is_named_by_its_line(old: str, new: str, line: int) -> None:
    now = PAGE.replace(old, new)
    assert compare_pages(PAGE, now) == [PageDifference(line, PAGE.splitlines()[line - 1], now.splitlines()[line - 1])]


LINE = (
    "Made by `vitfaith reproduce findings` (`config/config.yaml`, `tools/findings.py`): study seed 2024, n = 256 images"
)
ENDS = ("; 14 core minutes on Intel(R) Xeon(R) Processor, 2 cores.", "; 2.3 core hours on AMD EPYC 9B14, 16 cores.")


def test_time_and_processor_of_a_line_of_provenance_are_not_compared() -> None:
    first, second = (f"# Page\n\n{LINE}{end}\n\nn = 256\n" for end in ENDS)
    assert compare_pages(first, second, units=0) == []
    assert [d.line for d in compare_pages(first, second.replace("2024", "2025"))] == [3]
    assert [d.line for d in compare_pages(first, second.replace("256 images", "128 images"))] == [3]
    assert [d.line for d in compare_pages(f"Runs; on Intel{ENDS[0]}", f"Runs; on Intel{ENDS[1]}")] == [1], (
        "other lines are"
    )


def test_a_line_of_provenance_stands_below_each_heading_of_new_tables() -> None:
    table = "| m |\n| --- |\n| a |\n"
    page = f"# P\n\n## One\n\ntext\n\n{table}\n## Two\n\n{table}\nend\n"
    first, second = (f"{LINE}{end}" for end in ENDS)
    made = with_tables(page, f"{first}\n\n{table}\n{table}", ["## One", "## Two"])
    assert made == f"# P\n\n## One\n\n{first}\n\ntext\n\n{table}\n## Two\n\n{first}\n\n{table}\nend\n"
    again = with_tables(made, f"{second}\n\n{table}\n{table}", ["## One", "## Two"])
    assert again == made.replace(first, second)
    assert with_tables(made, table, ["## One"]) == made, "a tool without the line leaves it"


def test_lines_that_are_missing_or_new() -> None:
    lines = PAGE.splitlines()
    assert compare_pages(PAGE, "\n".join(lines[:-1])) == [PageDifference(8, lines[-1], "")]
    assert compare_pages(PAGE, PAGE + "| c | 0.10 | 1 |\n") == [PageDifference(8, "", "| c | 0.10 | 1 |")]


def test_tables_below_headings() -> None:
    made = "### raw\n\n| m | v |\n| --- | --- |\n| a | 0.51 |\n\n### raw 2\n\n| m | v |\n| --- | --- |\n| a | 0.90 |\n"
    page = (
        "# P\n\n## One\n\ntext\n\n| m | v |\n|---|---|\n| a | 0.50 |\n\n## Two\n\n| m | v |\n|---|---|\n| a | 0.80 |\n"
    )
    assert compare_tables(page, made, ["## One", "## Two"]) == [PageDifference(15, "| a | 0.80 |", "| a | 0.90 |")]
    assert page.splitlines()[14] == "| a | 0.80 |"
    updated = with_tables(page, made, ["## One", "## Two"])
    assert updated == page.replace("0.50", "0.51").replace("0.80", "0.90").replace("|---|---|", "| --- | --- |")
    assert compare_tables(updated, made, ["## One", "## Two"], units=0) == []
    with pytest.raises(ArtifactError, match="no heading '## Three'"):
        compare_tables(page, made, ["## One", "## Three"])
    with pytest.raises(ArtifactError, match="2 tables were made, 1 are in the page"):
        compare_tables(page, made, ["## One"])
    with pytest.raises(ArtifactError, match="2 tables were made, 1 are in the page"):
        with_tables(page, made, ["## One"])


def test_differences_are_a_table_whatever_the_lines_hold() -> None:
    text = differences_text([PageDifference(7, "| a | `x` |", "")])
    assert text.splitlines()[-1] == "| 7 | `¦ a ¦ 'x' ¦` |  |"


@pytest.mark.parametrize("name", PAGES)
def test_a_page_its_study_and_its_tool_exist_and_the_page_names_them(name: str) -> None:
    page = PAGES[name]
    text = (ROOT / page.page).read_text(encoding="utf-8")
    assert page.command[0] in text
    assert all(heading in text.splitlines() for heading in page.tables)
    if page.study is not None:
        load_study(yaml.safe_load(study_text(page, ROOT)))
        assert page.study == Path("config/config.yaml") or str(page.study) in text
    assert (ROOT / page.command[0]).is_file()
    shown = CliRunner().invoke(app, ["reproduce", name, "--dry-run"]).stdout.splitlines()
    assert len(shown) == (1 if page.study is None else 3)
    assert page.command[0].rpartition("/")[2] in shown[-1]
    assert "{root}" not in shown[-1]


EXPERIMENT = re.compile(r"""experiment=(\w+)|\bread\([^"()]*(?:\([^()]*\))?[^"()]*, "(\w+)", """)
"""An experiment that a tool or its arguments name."""


@pytest.mark.parametrize("name", [name for name, page in PAGES.items() if page.study is not None])
def test_the_study_of_a_page_plans_and_has_what_the_tool_reads(name: str) -> None:
    page = PAGES[name]
    study = load_study(yaml.safe_load(study_text(page, ROOT)))
    folders = {needed.parts[0] for needed in page.needs}
    assert folders <= {"data", "reproduced"}, "where git ignores what is fetched and made"
    if "data" not in folders:
        assert jobs(Plan(study, "results"))
    tool = (ROOT / page.command[0]).read_text(encoding="utf-8")
    named = EXPERIMENT.findall(" ".join([tool, *page.command]))
    assert {one or other for one, other in named} <= set(study.experiments)


def test_what_a_page_needs_is_linked_or_named_with_the_command_that_makes_it(tmp_path: Path) -> None:
    needed, place = tmp_path / "data" / "page.md", tmp_path / "run" / "data" / "page.md"
    with pytest.raises(ArtifactError, match=r"page.md' does not exist; in the clone, run: bash tools/stamps.sh"):
        _link(needed, place, "bash tools/stamps.sh")
    needed.parent.mkdir()
    needed.write_text("made", encoding="utf-8")
    _link(needed, place, "bash tools/stamps.sh")
    assert place.read_text(encoding="utf-8") == "made"


@pytest.mark.parametrize("name", PAGES)
def test_the_pictures_of_a_page_are_made_and_committed(name: str) -> None:
    page = PAGES[name]
    for picture, made in page.pictures.items():
        assert (ROOT / picture).is_file()
        if made.parts[0] == "results":
            assert page.study is not None
            study = load_study(yaml.safe_load(study_text(page, ROOT)))
            experiment, figure = made.parts[2], made.stem
            assert figure in study.experiments[experiment].figures
            assert str(made) in page.targets()


def test_overrides_replace_settings_and_name_sections_of_the_study() -> None:
    page = Page(page=Path("p.md"), study=Path("config/tiny.yaml"), command=("tools/x.py",))
    changed = page.model_copy(update={"overrides": {"seed": 3, "datasets": {"tiny": {"images": 5}}}})
    before, after = (yaml.safe_load(study_text(p, ROOT)) for p in (page, changed))
    assert (after["seed"], after["datasets"]["tiny"]["images"]) == (3, 5)
    assert after["datasets"]["tiny"] == {**before["datasets"]["tiny"], "images": 5}
    assert after["models"] == before["models"]
    with pytest.raises(ConfigError, match=r"no section 'datasetz'.*'datasets'"):
        study_text(page.model_copy(update={"overrides": {"datasetz": {"tiny": {}}}}), ROOT)


def test_errors(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="clone it"):
        read_pages(tmp_path)
    with pytest.raises(ConfigError, match="did you mean 'findings'"):
        page_named(PAGES, "finding")
    (tmp_path / "tools").mkdir()
    (tmp_path / LIST).write_text("a: {page: p.md}")
    with pytest.raises(ConfigError, match=r"a.*command"):
        read_pages(tmp_path)


def test_what_changed_belongs_to_whole_pages(tmp_path: Path) -> None:
    (tmp_path / "tools").mkdir()
    entry = "a: {page: p.md, command: [tools/x.py], changed: SaCo of Rollout rose."
    (tmp_path / LIST).write_text(entry + "}")
    assert read_pages(tmp_path)["a"].changed == "SaCo of Rollout rose."
    (tmp_path / LIST).write_text(entry + ", tables: ['## T']}")
    with pytest.raises(ConfigError, match="write it into the page"):
        read_pages(tmp_path)


def test_a_changed_number_ends_the_command_with_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a study: a tool that prints a page is run in the folder, and its page compared."""
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "made.py").write_text("print('n = 3, mean 0.52')\nopen('new.png', 'w').write('drawn')")
    (tmp_path / "tools" / "fails.py").write_text("raise SystemExit(2)")
    (tmp_path / LIST).write_text(
        "made: {page: p.md, command: [tools/made.py], pictures: {p.png: new.png}}\nfails: {page: p.md, command: [tools/fails.py]}"
    )
    monkeypatch.setattr("vitfaith.shipped.workflow_folder", lambda: tmp_path)
    run = CliRunner()
    for mean, code in (("0.51", 0), ("0.60", 1)):
        (tmp_path / "p.md").write_text(f"n = 3, mean {mean}\n")
        done = run.invoke(app, ["reproduce", "made", "--folder", str(tmp_path / "out")])
        assert done.exit_code == code, done.output
        assert (tmp_path / "out" / "p.md").read_text().strip() == "n = 3, mean 0.52"
    assert f"| 1 | `n = 3, mean {mean}` | `n = 3, mean 0.52` |" in done.stdout
    updated = run.invoke(app, ["reproduce", "made", "--folder", str(tmp_path / "out"), "--update"])
    assert updated.exit_code == 0
    assert (tmp_path / "p.md").read_text() == "n = 3, mean 0.52\n"
    assert (tmp_path / "p.png").read_text() == "drawn"
    failed = run.invoke(app, ["reproduce", "fails", "--folder", str(tmp_path / "out")])
    assert isinstance(failed.exception, VitfaithError)

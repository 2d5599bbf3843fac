"""The site has every page of the repository once, in the menu, and everything that is public in the reference."""

from __future__ import annotations

from pathlib import Path

import pytest
from tools.website import pages, reference

import vitfaith

WRITTEN = pages.sources()


@pytest.fixture(scope="module")
def made() -> dict[str, str]:
    return reference.pages()


def test_every_markdown_file_and_notebook_is_a_page() -> None:
    files = [p for p in pages.DOCS.rglob("*") if p.suffix in {".md", ".ipynb"} and "checkpoint" not in p.name]
    assert {p.relative_to(pages.ROOT).as_posix() for p in files} <= set(WRITTEN.values())
    assert {"README.md", "CHANGELOG.md", "config/README.md"} <= set(WRITTEN.values())


@pytest.mark.parametrize(
    ("path", "page"),
    [
        ("README.md", "index.md"),
        ("docs/fills.md", "fills.md"),
        ("docs/notebooks/one_image.ipynb", "notebooks/one_image.md"),
        ("config/README.md", "config/index.md"),
        ("docs/config/metrics.md", "config/metrics.md"),
        ("config/tiny.yaml", None),
        ("src/vitfaith/rng.py", None),
    ],
)
def test_addresses(path: str, page: str | None) -> None:
    assert pages.address(path) == page


def test_two_files_of_one_address_are_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for path in ("README.md", "docs/index.md"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).touch()
    monkeypatch.setattr(pages, "ROOT", tmp_path)
    monkeypatch.setattr(pages, "DOCS", tmp_path / "docs")
    with pytest.raises(ValueError, match=r"docs/index\.md and README\.md would both be the page index\.md"):
        pages.sources()


def test_every_page_is_in_the_menu_once(made: dict[str, str]) -> None:
    everything = sorted([*WRITTEN, *made, "gallery.md"])
    placed = [page for found in pages.menu(everything).values() for page in found]
    assert sorted(placed) == everything
    assert list(pages.menu(["new.md"])) == [pages.REST]


def test_the_menu_nests_what_has_two_titles() -> None:
    menu = pages.nav(["index.md", "columns.md", "config/index.md", "config/metrics.md"])
    configuration = {"Configuration": ["config/index.md", "config/metrics.md"]}
    assert menu == [{"Start": ["index.md"]}, {"Reference": ["columns.md", configuration]}]


def test_the_reference_has_everything_public(made: dict[str, str]) -> None:
    library = made["reference/library.md"]
    assert {f"::: vitfaith.{name}" for name in vitfaith.__all__ if name not in {"plot", "register"}} <= set(
        library.splitlines()
    )
    plots = made["reference/plot.md"]
    assert {"::: vitfaith.api.plot.curves", "::: vitfaith.api.plot.maps"} <= set(plots.splitlines())
    assert "\n## `check`\n" in made["reference/commands.md"]


def test_bases_of_plugins_exist() -> None:
    for name in reference.BASES:
        module, _, attribute = name.rpartition(".")
        assert hasattr(__import__(module, fromlist=[attribute]), attribute)


def test_roles_of_docstrings_are_read_as_words() -> None:
    assert reference.plain("see :func:`~vitfaith.api.wrap.wrap`, :class:`Maps`") == "see `wrap`, `Maps`"

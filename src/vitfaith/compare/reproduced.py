"""The pages of findings: the study and the tool that make each, and whether a new run agrees with the committed page."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from vitfaith.compare.pages import PageDifference, compare_pages, compare_tables, with_tables
from vitfaith.errors import ConfigError, did_you_mean
from vitfaith.study.values import validate
from vitfaith.tables.text import markdown_table

LIST = Path("tools", "pages.yaml")
"""The list of pages, relative to the root of the clone."""


class Page(BaseModel):
    """How a page is made."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    page: Path = Field(description="the committed page, relative to the clone")
    study: Path | None = Field(None, description="its study, relative to the clone; none where the tool needs no run")
    overrides: dict[str, Any] = Field({}, description="settings that replace settings of the study")
    needs: dict[Path, str] = Field(
        {},
        description="folders and files, relative to the clone, that the study or the tool reads → the command that makes them",
    )
    command: tuple[str, ...] = Field(
        description="tool and arguments, run in the folder of the results; prints the page; {root} is the clone"
    )
    writes: Path | None = Field(None, description="file with the page, where the tool does not print it")
    tables: tuple[str, ...] = Field((), description="headings of the tables that the tool makes; none: the whole page")
    pictures: dict[Path, Path] = Field(
        {},
        description="committed picture, relative to the clone → its file in the folder of the results, made by the study or the tool",
    )
    units: int = Field(1, ge=0, description="tolerance in units of the last digit shown")
    changed: str = Field(
        "", description="what changed against the numbers of an earlier version; the tool prints it as the last section"
    )

    @model_validator(mode="after")
    def _changed_needs_a_whole_page(self) -> Self:
        if self.changed and self.tables:
            raise ValueError("changed: only the text of a whole page is printed by its tool; write it into the page")
        return self

    def words(self, root: Path) -> list[str]:
        """The command that makes the page, for any folder."""
        first, *rest = self.command
        return [sys.executable, str(root / first), *(word.replace("{root}", str(root)) for word in rest)]

    def targets(self) -> list[str]:
        """Targets of the study: all tables, and the pictures that the workflow draws."""
        return ["scores", *(str(made) for made in self.pictures.values() if made.parts[0] == "results")]

    def shown(self) -> str:
        """The command as a page names it."""
        return f"python {shlex.join(self.command)}"


def read_pages(root: Path | None) -> dict[str, Page]:
    """Name → page, from the list beside the tools.

    Raises:
        ConfigError: there is no clone around this package, or the list has a wrong entry.
    """
    if root is None or not (root / LIST).is_file():
        raise ConfigError(
            "pages of findings and the tools that make them are in the repository, not in the package; clone it and run "
            "'vitfaith reproduce' there"
        )
    listed = yaml.safe_load((root / LIST).read_text(encoding="utf-8"))
    return {name: validate(Page, entry, f"{LIST}: {name}") for name, entry in listed.items()}


def page_named(pages: Mapping[str, Page], name: str) -> Page:
    """A page by its name.

    Raises:
        ConfigError: there is no such page; the text names all.
    """
    if name not in pages:
        raise ConfigError(f"no page '{name}'{did_you_mean(name, pages)}; there are {', '.join(pages)}")
    return pages[name]


def study_text(page: Page, root: Path) -> str:
    """The YAML of the page's study with its overrides.

    Raises:
        ConfigError: an override names no key of the study.
    """
    assert page.study is not None
    study = yaml.safe_load((root / page.study).read_text(encoding="utf-8"))
    return yaml.safe_dump(_overridden(study, page.overrides, str(page.study)), sort_keys=False, allow_unicode=True)


def _overridden(settings: Any, changes: Mapping[str, Any], where: str) -> dict[str, Any]:
    result = dict(settings)
    for key, value in changes.items():
        there = result.get(key)
        if isinstance(value, Mapping) and not isinstance(there, Mapping):
            raise ConfigError(f"{LIST}: overrides: {where} has no section '{key}'{did_you_mean(key, result)}")
        nested = isinstance(value, Mapping) and isinstance(there, Mapping)
        result[key] = _overridden(there, value, f"{where}: {key}") if nested else value
    return result


def differences(page: Page, committed: str, now: str) -> list[PageDifference]:
    """Where the page made now differs from the committed one.

    Raises:
        ArtifactError: as :func:`vitfaith.compare.pages.compare_tables`.
    """
    if page.tables:
        return compare_tables(committed, now, page.tables, page.units)
    return compare_pages(committed, now, page.units)


def renewed(page: Page, committed: str, now: str) -> str:
    """The committed page with the new text, or with the new tables.

    Raises:
        ArtifactError: as :func:`vitfaith.compare.pages.compare_tables`.
    """
    return with_tables(committed, now, page.tables) if page.tables else now


def differences_text(found: Sequence[PageDifference]) -> str:
    """The lines that differ, as a Markdown table."""
    rows = [[str(d.line), _code(d.committed), _code(d.now)] for d in found]
    return markdown_table(["line", "committed", "now"], rows)


def _code(line: str) -> str:
    """A line as code inside a cell; nothing where it is missing."""
    return f"`{line.replace('|', '¦').replace('`', chr(39))}`" if line else ""

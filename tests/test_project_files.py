"""Files for people who join or cite: they are well-formed, agree with each other, and name no address that does not exist."""

from __future__ import annotations

import configparser
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from vitfaith.study.bibliography import own_entry

ROOT = Path(__file__).resolve().parent.parent
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
CI = (ROOT / ".ci" / "run").read_text()

CFF = {
    "cff-version": str,
    "message": str,
    "title": str,
    "authors": list,
    "type": str,
    "abstract": str,
    "version": str,
    "license": str,
    "keywords": list,
}
"""The keys of the Citation File Format 1.2.0 that we use, the required ones first, with the type of their value."""


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def test_the_citation_file_has_the_form_of_its_format() -> None:
    citation = read(ROOT / "CITATION.cff")
    assert {key: type(value) for key, value in citation.items()} == CFF
    assert citation["cff-version"] == "1.2.0"
    assert citation["type"] == "software"
    assert citation["authors"] == [{"name": "The vitfaith developers"}]  # an entity has `name`, a person has not
    assert all(isinstance(word, str) for word in citation["keywords"])
    assert len(set(citation["keywords"])) == len(citation["keywords"])


def test_the_citation_agrees_with_the_package_and_its_bibtex() -> None:
    citation, bibtex = read(ROOT / "CITATION.cff"), re.sub(r"[{}]", "", own_entry())
    assert citation["version"] == PROJECT["version"]
    assert citation["license"] == PROJECT["license"] == "MIT"
    assert citation["keywords"] == PROJECT["keywords"]
    assert citation["authors"] == PROJECT["authors"]
    for words in (citation["title"], citation["version"], citation["authors"][0]["name"]):
        assert f"= {words}," in bibtex


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_is_well_formed(path: Path) -> None:
    workflow = read(path)
    assert set(workflow) <= {"name", True, "permissions", "concurrency", "jobs"}  # YAML reads the key `on` as True
    assert workflow["name"] == path.stem
    assert set(workflow[True]) <= {"push", "pull_request"}
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        assert set(job) <= {"runs-on", "timeout-minutes", "steps"}
        assert job["timeout-minutes"] <= 90
        for step in job["steps"]:
            assert set(step) <= {"name", "uses", "with", "run", "working-directory"}
            assert ("uses" in step) != ("run" in step)
            assert re.fullmatch(r"actions/[\w-]+@v\d+", step.get("uses", "actions/x@v1"))
        assert job["steps"][0]["uses"].startswith("actions/checkout@")


def commands(name: str) -> str:
    """All commands of a workflow."""
    jobs = read(ROOT / ".github" / "workflows" / f"{name}.yml")["jobs"]
    return "\n".join(step.get("run", "") for job in jobs.values() for step in job["steps"])


def test_workflows_run_what_is_run_here() -> None:
    assert [path.stem for path in WORKFLOWS] == ["ci", "docs", "release"]
    assert "bash .ci/run" in commands("ci")
    assert "mkdocs build --strict" in commands("docs")
    assert "uv build" in commands("release")
    assert "mkdocs build --strict" in (ROOT / "tests" / "website" / "run.sh").read_text()
    assert "tests/website/run.sh" in CI


def test_hooks_are_tools_of_the_project_that_ci_runs_too() -> None:
    repos = read(ROOT / ".pre-commit-config.yaml")["repos"]
    assert [repo["repo"] for repo in repos] == ["local"]
    hooks = repos[0]["hooks"]
    assert [hook["id"] for hook in hooks] == ["ruff", "ruff-format", "snakefmt", "codespell"]
    for hook in hooks:
        assert {"id", "name", "entry", "language"} <= set(hook)
        assert hook["language"] == "system"
        assert hook["entry"].removesuffix(" --fix") in CI


def test_the_editor_and_the_formatter_agree() -> None:
    parser = configparser.ConfigParser()
    parser.read_string("[top]\n" + (ROOT / ".editorconfig").read_text())
    ruff = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]
    assert parser["*.{py,pyi}"]["max_line_length"] == str(ruff["line-length"])


def test_every_file_that_contributing_names_exists() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    paths = re.findall(r"(?<![\w/])((?:tests|tools|docs|src|config|workflow|\.ci)/[\w./-]*\w)", text)
    assert len(paths) > 10
    for path in set(paths) - {"tests/KIND/oracles"}:
        assert (ROOT / path).exists(), path


def test_the_changelog_leads_to_the_next_version() -> None:
    heads = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert heads
    assert all(re.fullmatch(r"\d+\.\d+\.\d+ \((unreleased|\d{4}-\d\d-\d\d)\)", head) for head in heads)
    versions = [tuple(map(int, head.split()[0].split("."))) for head in heads]
    assert versions == sorted(versions, reverse=True)
    assert versions[0] >= tuple(map(int, PROJECT["version"].split(".")))


@pytest.mark.parametrize(
    "name",
    [
        "CITATION.cff",
        "CONTRIBUTING.md",
        ".pre-commit-config.yaml",
        "mkdocs.yml",
        *(p.relative_to(ROOT) for p in WORKFLOWS),
    ],
)
def test_no_address_or_contact_is_invented(name: str | Path) -> None:
    text = (ROOT / name).read_text()
    assert "://" not in text
    assert not re.search(r"[\w.]+@[\w-]+\.\w", text)

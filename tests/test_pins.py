"""The pins are complete, agree with each other, and name no registry; what the package imports is what it asks for."""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import re
import subprocess
import tomllib
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).resolve().parent.parent
spec = importlib.util.spec_from_file_location("pins", ROOT / "tools" / "pins.py")
assert spec is not None
assert spec.loader is not None
pins = importlib.util.module_from_spec(spec)
spec.loader.exec_module(pins)

CAPPED = {
    "snakemake": "Snakefile, profiles and logger use its command line and classes, which a major version changes",
    "snakemake-executor-plugin-slurm": "the profile uses its options, which a major version changes",
    "snakemake-executor-plugin-slurm-jobstep": "belongs to one major version of the SLURM plugin",
}
"""Why newer versions of a package are not allowed."""

OPTIONAL: dict[str, str] = {}
"""Dependencies that another one imports where the package uses a part of it that needs more."""

STALE = "pins are stale: run `uv run --no-sync python tools/pins.py`"


def test_every_resolved_version_is_pinned_in_both_files() -> None:
    subprocess.run(["uv", "lock", "--quiet"], cwd=ROOT, check=True)
    resolved = pins.versions(pins.exported("--no-hashes"))
    assert len(resolved) > 100
    assert pins.constraints() == resolved, STALE
    assert pins.versions(pins.REQUIREMENTS.read_text()) == resolved, STALE


def test_every_requirement_has_a_hash() -> None:
    blocks = pins.REQUIREMENTS.read_text().replace("\\\n", " ").strip().splitlines()
    assert all("--hash=sha256:" in block for block in blocks)


def test_no_registry_is_named() -> None:
    for path in (pins.PROJECT, pins.REQUIREMENTS):
        assert "://" not in path.read_text(), path
    ignored = subprocess.run(["git", "check-ignore", "uv.lock"], cwd=ROOT, capture_output=True, text=True)
    assert ignored.returncode == 0, "uv.lock names hosts and must stay ignored"


def named(requirements: list[str]) -> set[str]:
    return {re.split(r"[<>=!~ ]", one)[0].lower() for one in requirements}


@pytest.mark.parametrize("python", ["3.11", "3.14"])
def test_the_published_ranges_resolve_at_their_lowest(python: str, tmp_path: Path) -> None:
    project = pins.PROJECT.read_text()
    published = tmp_path / "pyproject.toml"
    published.write_text(re.sub(r"^\[tool\.uv[^\]]*\]\n.*?(?=^\[)", "", project, flags=re.DOTALL | re.MULTILINE))
    assert "tool.uv" not in published.read_text(), "pins and overrides are not published"
    options = ["--resolution", "lowest-direct", "--only-binary", ":all:", "--python-version", python, "--no-header"]
    command = ["uv", "pip", "compile", "--quiet", "--no-annotate", *options, str(published)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    if python == "3.11":  # newer ones lack wheels of the oldest versions
        resolved = pins.versions(done.stdout)
        for one in map(Requirement, tomllib.loads(project)["project"]["dependencies"]):
            assert resolved[one.name] in SpecifierSet(str(one.specifier).replace(">=", "==")), f"{one}: a bound too low"


def test_an_upper_bound_is_published_only_with_a_reason() -> None:
    project = tomllib.loads(pins.PROJECT.read_text())["project"]
    asked = [*project["dependencies"], *chain.from_iterable(project["optional-dependencies"].values())]
    capped = {one.name for one in map(Requirement, asked) if any(s.operator not in (">=", "!=") for s in one.specifier)}
    assert capped == set(CAPPED)
    assert all(s.operator == ">=" for s in SpecifierSet(project["requires-python"]))


def test_dependencies_are_what_the_package_imports() -> None:
    project = tomllib.loads(pins.PROJECT.read_text())
    imported = set()
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                imported.add(node.module.split(".")[0])
    owners = importlib.metadata.packages_distributions()
    used = {owner.lower() for name in imported for owner in owners.get(name, [])}
    asked = named(project["project"]["dependencies"])
    assert asked - used == set(OPTIONAL), "a dependency that nothing imports"
    for group in ("test", "oracles"):
        assert not used & (named(project["dependency-groups"][group]) - asked), f"{group} is not there for users"

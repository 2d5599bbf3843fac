"""The pins are complete, agree with each other, and name no registry; what the package imports is what it asks for."""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import re
import subprocess
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
spec = importlib.util.spec_from_file_location("pins", ROOT / "tools" / "pins.py")
assert spec is not None
assert spec.loader is not None
pins = importlib.util.module_from_spec(spec)
spec.loader.exec_module(pins)

OPTIONAL = {"jinja2": "pandas renders LaTeX with it"}
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

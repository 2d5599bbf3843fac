"""Empty environments with pinned packages; the packages are those that this environment was made from, so nothing is fetched anew."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

from tests.workflow.conftest import ROOT


def uv(*arguments: str | Path) -> None:
    """Run uv, away from the project."""
    done = subprocess.run(["uv", *arguments], cwd="/", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def python_of(folder: Path) -> Path:
    """The Python of the environment that :func:`environment_with` makes in ``folder``."""
    return folder / "environment" / "bin" / "python"


def environment_with(folder: Path, *packages: str) -> Path:
    """Make an environment in ``folder`` that holds the pinned versions of ``packages`` and of what they ask for; its Python."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["uv"]
    pins, overrides = folder / "pins.txt", folder / "overrides.txt"
    pins.write_text("\n".join(settings["constraint-dependencies"]))
    overrides.write_text("\n".join(settings["override-dependencies"]))
    uv("venv", "--quiet", "--python", sys.executable, folder / "environment")
    python = python_of(folder)
    uv("pip", "install", "--quiet", "--python", python, "-c", pins, "--overrides", overrides, *packages)
    return python

"""Write the pins: exact versions into pyproject.toml (constraint-dependencies) and hashes into requirements.txt.

Run after changing a dependency:  uv run --no-sync python tools/pins.py  (add --upgrade to take newer versions).
Neither file names a registry; uv.lock does, and is therefore not committed.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROJECT, REQUIREMENTS = ROOT / "pyproject.toml", ROOT / "requirements.txt"
EXPORT = ["uv", "export", "--all-groups", "--no-emit-project", "--no-header", "--no-annotate", "--frozen", "--quiet"]
BLOCK = re.compile(r"constraint-dependencies = \[\n.*?\n\]\n", re.DOTALL)


def exported(*options: str) -> str:
    """The locked requirements of all groups as text."""
    return subprocess.run([*EXPORT, *options], cwd=ROOT, check=True, capture_output=True, text=True).stdout


def versions(requirements: str) -> dict[str, str]:
    """Package → version of the lines ``name==version`` (with or without a marker)."""
    return dict(re.findall(r"^([A-Za-z0-9_.-]+)==([^\s;\\]+)", requirements, re.MULTILINE))


def constraints() -> dict[str, str]:
    """Package → version pinned in pyproject.toml."""
    tool = tomllib.loads(PROJECT.read_text())["tool"]["uv"]
    return versions("\n".join(tool.get("constraint-dependencies", [])))


def main() -> None:
    """Resolve, then rewrite both files."""
    if "--upgrade" in sys.argv:
        PROJECT.write_text(BLOCK.sub("", PROJECT.read_text()))
    subprocess.run(["uv", "lock", *(["--upgrade"] if "--upgrade" in sys.argv else [])], cwd=ROOT, check=True)
    pins = versions(exported("--no-hashes"))
    lines = "\n".join(f'    "{name}=={version}",' for name, version in sorted(pins.items()))
    text = BLOCK.sub("", PROJECT.read_text())
    text = text.replace("override-dependencies", f"constraint-dependencies = [\n{lines}\n]\noverride-dependencies")
    PROJECT.write_text(text)
    subprocess.run(["uv", "lock"], cwd=ROOT, check=True)
    REQUIREMENTS.write_text(exported())
    print(f"{len(pins)} packages pinned")


if __name__ == "__main__":
    main()

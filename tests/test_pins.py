"""The pins are complete, agree with each other, and name no registry."""

from __future__ import annotations

import importlib.util
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
spec = importlib.util.spec_from_file_location("pins", ROOT / "tools" / "pins.py")
assert spec is not None
assert spec.loader is not None
pins = importlib.util.module_from_spec(spec)
spec.loader.exec_module(pins)

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

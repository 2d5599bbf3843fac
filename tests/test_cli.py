"""The command line: listings from the registries, the check of a config, errors without tracebacks."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from vitfaith.registries import DISCRIMINATORS, REGISTRIES

ROOT = Path(__file__).resolve().parent.parent


def vitfaith(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "vitfaith", *arguments], cwd=cwd, capture_output=True, text=True)


@pytest.mark.parametrize("section", list(REGISTRIES))
def test_list_shows_every_registered_item_and_is_valid_json(section: str) -> None:
    rows = json.loads(vitfaith("list", section, "--json").stdout)
    assert [row[DISCRIMINATORS[section]] for row in rows] == REGISTRIES[section].names
    assert all(row["summary"] for row in rows)


def test_check_accepts_the_shipped_configs() -> None:
    for path in sorted((ROOT / "config").glob("*.yaml")):
        done = vitfaith("check", str(path))
        if path.stem in (
            "saco",
            "fvit",
            "stamps",
            "diffmask_cifar10",
        ):  # images of the user's own, or fetched first: nothing else may lack
            lines = [line for line in done.stderr.splitlines() if line.strip()]
            assert all(re.search("do(es)? not exist|has no CITY", line) for line in lines), done.stderr
        else:
            assert done.returncode == 0, done.stderr
            assert "conditions" in done.stdout


def test_check_names_a_missing_file(tmp_path: Path) -> None:
    config = tmp_path / "study.yaml"
    config.write_text(
        (ROOT / "config" / "tiny.yaml").read_text().replace("vit_patch4.safetensors", "absent.safetensors")
    )
    done = vitfaith("check", str(config))
    assert done.returncode == 1
    assert "models.vit_patch4.weights: 'resources/models/absent.safetensors' does not exist" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_specification_that_is_no_json_is_said_plainly() -> None:
    done = vitfaith("shard", "--spec", "{", "--out", "x")
    assert done.returncode == 1
    assert done.stderr.startswith("error: --spec is not a JSON object")

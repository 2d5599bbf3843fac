"""What ``vitfaith add`` asks of Snakemake."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
from snakemake.cli import get_argument_parser
from typer.testing import CliRunner

from vitfaith.cli.share import app
from vitfaith.sharing import addition


@pytest.mark.parametrize("options", [["--cores", "1", "--quiet"], ["--rerun-triggers", "mtime"], ["--quiet", "rules"]])
def test_an_option_with_several_values_leaves_the_files_alone(
    options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[list[str]] = []

    def run(command: list[str], **settings: object) -> SimpleNamespace:
        called.append(command)
        return SimpleNamespace(returncode=3)

    ready = addition.Addition(
        tmp_path, Path("study.yaml"), ["image.parquet"], ["scores.parquet"], ["maps.parquet"], "mine"
    )
    monkeypatch.setattr(addition, "prepare", lambda *given, **settings: ready)
    monkeypatch.setattr(subprocess, "run", run)
    done = CliRunner().invoke(app, ["add", "maps.parquet", "--study", str(tmp_path), "--name", "mine", *options])
    assert done.exit_code == 3, done.output
    (command,) = called
    found = get_argument_parser().parse_args(command[3:])
    assert list(found.targets) == ["image.parquet"]

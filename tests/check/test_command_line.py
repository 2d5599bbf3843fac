"""`vitfaith check` and `vitfaith run` through the command line: one line and exit status 1 for configurations that cannot be read."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from vitfaith.check.init import _from
from vitfaith.cli.launch import snakemake_command, working_folder
from vitfaith.cli.main import main

ROOT = Path(__file__).resolve().parents[2]
TINY = ROOT / "config" / "tiny.yaml"
STUDY = "# Ä study\nseed: 1\n"

CONTENTS: dict[str, tuple[bytes | None, str]] = {
    "missing": (None, "does not exist"),
    "latin-1": (STUDY.encode("latin-1"), "is not UTF-8 text (byte 2); save it as UTF-8"),
    "utf-16": (STUDY.encode("utf-16"), "is not UTF-8 text (byte 0); save it as UTF-8"),
    "binary": (bytes(range(256)), "is not UTF-8 text (byte 128); save it as UTF-8"),
    "empty": (b"", "must hold sections"),
    "a key twice": (b"seed: 1\nseed: 2\n", "key 'seed' is given twice"),
    "a list as dataset": (b"datasets: {x: [1]}\n", "datasets.x: expected a mapping of settings, found list"),
    "a page as plugin": (b"plugins: [README.md]\n", "plugins: "),
    "no path as plugin": (b"plugins: [null]\n", "plugins: expected a list of Python files, found [None]"),
}


@pytest.mark.parametrize("verb", ["check", "run"])
@pytest.mark.parametrize("kind", CONTENTS)
def test_one_line(
    kind: str, verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    content, message = CONTENTS[kind]
    path = tmp_path / "study.yaml"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setattr(sys, "argv", ["vitfaith", verb, str(path)])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 1
    found = capsys.readouterr()
    assert found.out == ""
    (line,) = found.err.splitlines()
    assert line.startswith("error: ")
    assert message in line


@pytest.mark.parametrize(
    ("given", "passed"),
    [
        (["-n"], ["--cores", "all", "-n"]),
        (["scores", "--cores", "2"], ["scores", "--cores", "2"]),
        (["-c2"], ["-c2"]),
        (["--workflow-profile=profiles/slurm"], ["--workflow-profile=profiles/slurm"]),
    ],
)
def test_run_hands_a_sound_study_to_snakemake(
    given: list[str], passed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[list[str]] = []
    monkeypatch.setattr(os, "execve", lambda program, arguments, environment: called.append([program, *arguments]))
    monkeypatch.setattr(sys, "argv", ["vitfaith", "run", str(TINY), *given])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 0
    profile = (
        []
        if passed[0].startswith("--workflow-profile")
        else ["--workflow-profile", f"{ROOT}/workflow/profiles/default"]
    )
    where = ["--snakefile", f"{ROOT}/Snakefile", "--directory", str(ROOT), *profile]
    assert called == [[sys.executable, sys.executable, "-m", "snakemake", *where, *passed, "--configfile", str(TINY)]]


def test_a_profile_of_the_workflow_is_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    slurm = str(ROOT / "workflow" / "profiles" / "slurm")
    for options in (["--workflow-profile", "profiles/slurm"], ["--workflow-profile=profiles/slurm"]):
        command = snakemake_command(TINY, tmp_path, options)
        assert any(word.endswith(slurm) for word in command)
        assert not any("profiles/default" in word for word in command)
        assert "--cores" not in command


def test_run_works_in_the_folder_of_the_study(tmp_path: Path) -> None:
    study = tmp_path / "my_study.yaml"
    study.write_text(TINY.read_text())
    (tmp_path / "elsewhere").mkdir()
    command = [sys.executable, "-m", "vitfaith", "run", "../my_study.yaml", "-n", "--quiet", "rules"]
    done = subprocess.run(command, cwd=tmp_path / "elsewhere", capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^tables +1$", done.stdout, re.MULTILINE)
    assert (tmp_path / ".snakemake").is_dir()
    assert not (tmp_path / "elsewhere" / ".snakemake").exists()


def test_the_default_study_in_an_empty_folder(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "vitfaith", "run", "--default", "-n", "--quiet", "rules"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^figures +15$", done.stdout, re.MULTILINE)
    assert [path.name for path in tmp_path.iterdir()] == [".snakemake"]


def test_what_init_writes_is_relative_to_the_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert _from(working_folder(Path("studies/mine.yaml")), Path("photos")) == Path("../photos")
    assert _from(working_folder(Path("mine.yaml")), Path("photos")) == Path("photos")
    assert _from(tmp_path / "studies", tmp_path / "photos") == tmp_path / "photos"
    assert working_folder(TINY) == ROOT

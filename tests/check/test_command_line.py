"""`vitfaith check` and `vitfaith run` through the command line: one line and exit status 1 for configurations that cannot be read."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from vitfaith.check.init import _from
from vitfaith.cli.launch import program, snakemake_command, working_folder
from vitfaith.cli.main import main
from vitfaith.study.load import load_study, read_yaml
from vitfaith.study.places import places
from vitfaith.study.plan import Plan

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
        (["-n"], ["--quiet=rules", "--cores", "all", "-n"]),
        (["-n", "-p"], ["--cores", "all", "-n", "-p"]),
        (["-np"], ["--cores", "all", "-np"]),
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
    first = [word for word in passed if word.startswith("--quiet=")]
    passed = passed[len(first) :]
    where = [*first, "--snakefile", f"{ROOT}/Snakefile", "--directory", str(ROOT), *profile]
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
    assert re.search(r"^figures +16$", done.stdout, re.MULTILINE)
    assert [path.name for path in tmp_path.iterdir()] == [".snakemake"]


def test_what_init_writes_is_relative_to_the_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert _from(working_folder(Path("studies/mine.yaml")), Path("photos")) == Path("../photos")
    assert _from(working_folder(Path("mine.yaml")), Path("photos")) == Path("photos")
    assert _from(tmp_path / "studies", tmp_path / "photos") == tmp_path / "photos"
    assert working_folder(TINY) == ROOT


def test_init_quotes_the_next_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("vitfaith.check.init.write_config", lambda *_, **__: [])
    monkeypatch.setattr(sys, "argv", ["vitfaith", "init", "--model", "m", "--images", "i", "--out", "my study.yaml"])
    with pytest.raises(SystemExit):
        main()
    assert "next: vitfaith check 'my study.yaml', then vitfaith run 'my study.yaml'" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["-n", "study.yaml"], "study comes first, then options as '-n': vitfaith run STUDY.yaml -n"),
        (["--default", "foo.yaml"], "--default takes no file: leave out 'foo.yaml' or --default"),
        (["--default", "-n", "foo.yml"], "--default takes no file: leave out 'foo.yml' or --default"),
    ],
)
def test_run_says_what_it_is_called_with(
    given: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["vitfaith", "run", *given])
    monkeypatch.setenv("COLUMNS", "300")
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("by", ["vitfaith run", "snakemake"])
def test_a_dataset_that_cannot_be_read_is_one_line(by: str, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("path\na.png\n")
    raw = yaml.safe_load(TINY.read_text())
    raw["datasets"]["tiny"] = {"reader": "csv", "path": "list.csv", "preprocessing": "none"}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(raw))
    own = ["vitfaith", "run", "study.yaml", "-n"]
    plain = ["snakemake", "-n", "-s", str(ROOT / "Snakefile"), "--configfile", "study.yaml"]
    command = [sys.executable, "-m", *(own if by == "vitfaith run" else plain)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    told = done.stdout + done.stderr
    assert "InputFunctionException" not in told
    (line,) = [line for line in told.splitlines() if "list.csv" in line]
    assert "'list.csv' has no column 'label'" in line
    if by == "vitfaith run":
        assert told.splitlines() == [line]


def test_how_this_vitfaith_is_called_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    beside = Path(sys.executable).parent
    monkeypatch.delenv("UV", raising=False)
    monkeypatch.setenv("PATH", f"{beside}:/usr/bin")
    assert program() == "vitfaith"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert program() == f"{sys.executable} -m vitfaith"
    monkeypatch.setenv("UV", "uv")
    monkeypatch.chdir(ROOT)
    assert program() == "uv run vitfaith"
    monkeypatch.chdir(tmp_path)
    assert program() == f"{sys.executable} -m vitfaith"


def test_places_can_be_opened_by_the_caller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "results" / "pages" / "tiny.html"
    page.parent.mkdir(parents=True)
    page.touch()
    monkeypatch.chdir(ROOT)
    plan = Plan(load_study(read_yaml(TINY)))
    monkeypatch.chdir(tmp_path)
    for caller, shown in ((tmp_path, Path("results/pages/tiny.html")), (ROOT, page)):
        monkeypatch.setenv("PWD", str(caller))
        assert list(places(plan)) == [f"page     {shown}"]

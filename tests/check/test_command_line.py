"""`vitfaith check` and `vitfaith run` through the command line: one line and exit status 1 for configurations that cannot be read."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from vitfaith.cli.main import main

TINY = Path(__file__).resolve().parents[2] / "config" / "tiny.yaml"
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
    monkeypatch.setattr(os, "execv", lambda program, arguments: called.append([program, *arguments]))
    monkeypatch.setattr(sys, "argv", ["vitfaith", "run", str(TINY), *given])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 0
    assert called == [[sys.executable, sys.executable, "-m", "snakemake", *passed, "--configfile", str(TINY)]]

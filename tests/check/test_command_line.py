"""`vitfaith check` through the command line: one line and exit status 1 for configurations that cannot be read."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from vitfaith.cli.main import main

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


@pytest.mark.parametrize("kind", CONTENTS)
def test_one_line(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    content, message = CONTENTS[kind]
    path = tmp_path / "study.yaml"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setattr(sys, "argv", ["vitfaith", "check", str(path)])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 1
    found = capsys.readouterr()
    assert found.out == ""
    (line,) = found.err.splitlines()
    assert line.startswith("error: ")
    assert message in line

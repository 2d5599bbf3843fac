"""The page on the library: its code runs from top to bottom."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import vitfaith as vf
from vitfaith.explainers.registry import EXPLAINERS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "library.md").read_text(encoding="utf-8")


def test_the_code_of_the_page_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(ROOT)
    names: dict[str, object] = {}
    before = dict(EXPLAINERS._entries)
    try:
        for code in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
            exec(compile(code, "docs/library.md", "exec"), names)
    finally:
        EXPLAINERS._entries.clear()
        EXPLAINERS._entries.update(before)
    printed = capsys.readouterr().out
    assert "attention_rollout" in printed
    assert "torch.Size([4, 4, 4])" in printed
    assert "other class" in printed


def test_the_page_names_every_public_function() -> None:
    functions = [name for name in vf.__all__ if name.islower()]
    assert not [name for name in functions if f"vf.{name}" not in PAGE and f"vitfaith.{name}" not in PAGE]

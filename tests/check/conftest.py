"""A study to check, after some changes."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from vitfaith.check.study import check_study
from vitfaith.study.load import read_yaml

ROOT = Path(__file__).resolve().parents[2]
Change = Callable[[dict[str, Any]], Any]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Check the tiny study after some changes, from the repository's root."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    def call(*changes: Change, **options: Any) -> list[str]:
        raw = copy.deepcopy(read_yaml(ROOT / "config" / "tiny.yaml"))
        for change in changes:
            change(raw)
        file = tmp_path / "study.yaml"
        file.write_text(yaml.safe_dump(raw, sort_keys=False))
        return check_study(file, **options)

    return call

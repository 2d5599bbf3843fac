"""What is expensive is made once, whatever number of workers runs the tests."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.workflow.conftest import made_once


def test_the_first_makes_it_and_the_others_wait(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> None:
    calls = tmp_path / "calls"

    def make(folder: Path) -> None:
        folder.mkdir()
        time.sleep(0.2)
        (folder / "whole").touch()
        with calls.open("a") as file:
            file.write("made\n")

    def ask(_: int) -> bool:
        return (made_once(tmp_path_factory, "of_the_test", make) / "whole").exists()

    with ThreadPoolExecutor(3) as pool:
        assert all(pool.map(ask, range(3)))
    assert calls.read_text() == "made\n"


def test_after_a_failure_the_next_tries_again(tmp_path_factory: pytest.TempPathFactory) -> None:
    def fail(folder: Path) -> None:
        folder.mkdir()
        raise RuntimeError("half made")

    with pytest.raises(RuntimeError, match="half made"):
        made_once(tmp_path_factory, "of_the_failure", fail)
    assert made_once(tmp_path_factory, "of_the_failure", Path.mkdir).is_dir()

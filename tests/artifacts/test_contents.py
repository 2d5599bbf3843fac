"""Digests of contents: what changes them, what does not, and what is read again."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from vitfaith.artifacts import contents
from vitfaith.artifacts.contents import contents_digest

OLD = 1_000_000_000_000_000_000


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three small files, and a memory of its own."""
    monkeypatch.setattr(contents, "user_cache_path", lambda name: tmp_path / "cache" / name)
    monkeypatch.setattr(contents, "_RACY_NS", -1)
    data = tmp_path / "data"
    for name in ("a/one.png", "a/two.png", "b/three.png"):
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        (data / name).write_bytes(name.encode() * 9)
    return data


def count_reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    read: list[str] = []
    plain = contents.hashlib.file_digest

    def noted(handle, kind):  # type: ignore[no-untyped-def]
        read.append(Path(handle.name).name)
        return plain(handle, kind)

    monkeypatch.setattr(contents.hashlib, "file_digest", noted)
    return read


def test_unchanged_files_are_read_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = count_reads(monkeypatch)
    first = contents_digest([folder])
    assert sorted(read) == ["one.png", "three.png", "two.png"]
    assert contents_digest([folder]) == first
    assert len(read) == 3


def test_touching_and_copying_change_nothing(folder: Path, tmp_path: Path) -> None:
    first = contents_digest([folder])
    for file in folder.rglob("*.png"):
        os.utime(file, ns=(OLD, OLD))
    assert contents_digest([folder]) == first
    shutil.copytree(folder, tmp_path / "elsewhere")
    assert contents_digest([tmp_path / "elsewhere"]) == first


def test_one_byte_changes_it_whatever_the_times_say(folder: Path) -> None:
    file = folder / "a" / "one.png"
    os.utime(file, ns=(OLD, OLD))
    first = contents_digest([folder])
    content = bytearray(file.read_bytes())
    content[3] ^= 1
    file.write_bytes(content)
    os.utime(file, ns=(OLD, OLD))
    assert contents_digest([folder]) != first


@pytest.mark.parametrize("change", ["rename", "add", "remove", "order"])
def test_names_below_a_folder_count(folder: Path, change: str) -> None:
    first = contents_digest([folder / "a", folder / "b"])
    if change == "rename":
        (folder / "a" / "one.png").rename(folder / "a" / "uno.png")
    elif change == "add":
        (folder / "a" / "four.png").touch()
    elif change == "remove":
        (folder / "b" / "three.png").unlink()
    paths = [folder / "b", folder / "a"] if change == "order" else [folder / "a", folder / "b"]
    assert contents_digest(paths) != first


def test_hidden_files_do_not_count_and_what_is_missing_is_empty(folder: Path) -> None:
    first = contents_digest([folder])
    (folder / ".DS_Store").touch()
    (folder / ".cache").mkdir()
    (folder / ".cache" / "x.png").touch()
    assert contents_digest([folder]) == first
    assert contents_digest([folder / "nosuch"]) == contents_digest([folder / "other"])


def test_a_memory_that_cannot_be_used_costs_time_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = contents_digest([folder])
    memory = contents._memory([folder])
    memory.write_text("no JSON")
    assert contents_digest([folder]) == first
    monkeypatch.setattr(contents, "user_cache_path", lambda name: folder / "a" / "one.png" / name)
    assert contents_digest([folder]) == first


def test_files_just_written_are_not_remembered(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contents, "_RACY_NS", 10**15)
    read = count_reads(monkeypatch)
    contents_digest([folder])
    contents_digest([folder])
    assert len(read) == 6

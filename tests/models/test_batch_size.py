"""The batch size search, on a device that exists on paper only."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from vitfaith.errors import ConfigError
from vitfaith.models.batch_size import fastest_batch_size, remembered


class Device:
    """Takes ``overhead`` plus one second per image beyond ``width`` at a time; holds ``memory`` images."""

    def __init__(self, width: int, memory: int) -> None:
        self.width, self.memory, self.now, self.sizes = width, memory, 0.0, list[int]()

    def run(self, size: int) -> None:
        self.sizes.append(size)
        if size > self.memory:
            raise RuntimeError("CUDA out of memory")
        self.now += -(-size // self.width)

    def search(self, **options: int) -> int:
        return fastest_batch_size(
            self.run, is_out_of_memory=lambda e: "memory" in str(e), clock=lambda: self.now, **options
        )


@pytest.mark.parametrize(
    ("width", "memory", "expected"),
    [(64, 10_000, 64), (1, 10_000, 1), (1 << 20, 10_000, 4096), (1 << 20, 100, 32), (1 << 20, 1, 1), (8, 9, 4)],
)
def test_search(width: int, memory: int, expected: int) -> None:
    device = Device(width, memory)
    assert device.search() == expected
    assert max(device.sizes) <= 4096


def test_no_room_for_one_image() -> None:
    with pytest.raises(ConfigError, match="not one image fits"):
        Device(1, 0).search()


def test_other_errors_are_not_hidden() -> None:
    def broken(size: int) -> None:
        raise RuntimeError("illegal instruction")

    with pytest.raises(RuntimeError, match="illegal instruction"):
        fastest_batch_size(broken, is_out_of_memory=lambda e: "memory" in str(e))


def test_measured_once_even_by_jobs_side_by_side(tmp_path: Path) -> None:
    file, calls = tmp_path / "cache" / "batch_sizes.json", list[int]()

    def measure() -> int:
        calls.append(1)
        return 48

    def ask(_: int) -> int:
        return remembered({"device": "H200", "model": {"timm": "vit"}}, file, measure)

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(ask, range(8))) == {48}
    assert len(calls) == 1
    assert remembered({"device": "other"}, file, lambda: 7) == 7
    file.write_text("{broken")
    assert ask(0) == 48
    assert len(calls) == 2


def test_a_cache_that_cannot_be_written_costs_a_measurement_and_no_job(tmp_path: Path) -> None:
    (tmp_path / "cache").touch()  # a file where the folder should be
    assert remembered({"device": "H200"}, tmp_path / "cache" / "batch_sizes.json", lambda: 48) == 48


def test_a_full_disk_costs_no_job_and_leaves_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "batch_sizes.json"
    assert remembered({"device": "old"}, file, lambda: 7) == 7
    before = file.read_bytes()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    assert remembered({"device": "new"}, file, lambda: 48) == 48
    assert file.read_bytes() == before

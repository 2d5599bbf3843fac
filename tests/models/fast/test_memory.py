"""Freed memory stays with a job's process, which asks the system for no page twice."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import resource, torch
from vitfaith.models.fast.memory import keep_freed_memory
from vitfaith.models.fast.switch import fast_paths
with fast_paths(on={on}):
    kept = keep_freed_memory()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for mega in (8, 40, 3, 90):
        torch.ones(mega << 18)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
faults()
print(kept, sum(faults() for _ in range(3)))
"""


def run(*, on: bool) -> tuple[str, int]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(on=on)], capture_output=True, text=True, check=True
    ).stdout.split()
    return done[0], int(done[1])


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc alone")
def test_pages_are_asked_for_once() -> None:
    kept, faults = run(on=True)
    if kept == "False":
        pytest.skip("another C library")
    _, before = run(on=False)
    assert before > 50_000  # 141 MiB three times, in pages of 4 KiB
    assert faults < before / 3

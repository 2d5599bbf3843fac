"""Everything registered, every stage and every training, on a GPU that is none: no two devices meet, and numbers are the CPU's."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks import gpu
from benchmarks.gpu_sections.setup import Row

from tests.devices import tiny
from tests.devices.fake_cuda import fake_cuda
from vitfaith.models.fast.switch import fast_paths
from vitfaith.registries import REGISTRIES

NO_DEVICE = {"external", "none", "dds"}
"""Reads maps from files, keeps the images; each mode of dds has its own row."""


def rows_of(section: str, folder: Path) -> list[Row]:
    """The rows of a section of the GPU script, with tiny networks."""
    with fake_cuda(), fast_paths(on=False):  # off, because oneDNN rounds otherwise, and a GPU does not use it
        return gpu.run(tiny.setup(folder), [section], 60, 1, lambda _: None)[section]


@pytest.mark.parametrize("section", ["stages", "correctness", "library", "further", "training"])
def test_numbers_are_those_of_the_cpu(section: str, tmp_path: Path) -> None:
    rows = rows_of(section, tmp_path)
    assert {row["what"]: row["result"] for row in rows if row["result"] != "ok" or row["largest"] > 0} == {}
    if section == "correctness":
        of = {"explainer": "explainers", "metric": "metrics", "attack": "attacks"}
        done = {row["what"] for row in rows}
        asked = {
            f"{what} {name}" for what, key in of.items() for name in REGISTRIES[key].names if name not in NO_DEVICE
        }
        assert asked - done == set()

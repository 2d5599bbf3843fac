"""The script for a GPU on a CPU: every section runs, a row that fails stops nothing, and what is different is found."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from benchmarks import gpu
from benchmarks.gpu_sections import page
from benchmarks.gpu_sections.compare import compared, of_maps, of_tables, only_on
from benchmarks.gpu_sections.setup import Case, Row, Setup


@pytest.mark.parametrize(
    ("section", "every"), [("stages", 3), ("correctness", 20), ("batch sizes", 3), ("throughput", 5)]
)
def test_every_section_runs_on_a_cpu(section: str, every: int, tmp_path: Path) -> None:
    setup = Setup("cpu", True, tmp_path, repeats=1)
    saved: list[str] = []
    tables = gpu.run(setup, [section], 60, every, lambda found: saved.append(json.dumps(found)))
    rows = tables[section]
    assert rows
    assert [row for row in rows if page.is_bad(row)] == []
    assert json.loads(saved[-1]) == tables
    assert len(saved) == len(rows)


def test_another_process_and_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = tmp_path / "page.md"
    arguments = ["--device", "cpu", "--small", "--threads", "1", "--every", "2", "--only", "memory", "two processes"]
    monkeypatch.setattr(sys, "argv", ["gpu.py", *arguments, "--out", str(tmp_path), "--page", str(written)])
    assert gpu.main() == 0
    facts = json.loads((tmp_path / "gpu.json").read_text())
    assert [len(rows) for rows in facts["tables"].values()] == [1, 1]
    assert facts["tables"]["two processes"][0]["maps/s"] > 0
    made = written.read_text()
    assert made == page.text(facts)
    assert f"torch {torch.__version__.partition('+')[0]}" in made
    assert "1 of 1 rows ok, 0 differ or failed" in made
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--from", str(tmp_path / "gpu.json"), "--page", str(written)])
    assert gpu.main() == 0
    assert written.read_text() == made


def test_a_row_that_fails_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(error: Exception) -> Row:
        raise error

    def cases(_setup: Setup) -> Iterator[Case]:
        yield "wrong", lambda: fail(ValueError("five | six"))
        yield "absent", lambda: fail(ModuleNotFoundError("No module", name="captum"))
        yield "right", lambda: {"result": "ok", "value": 1.5}
        raise RuntimeError("no more")

    monkeypatch.setitem(gpu.SECTIONS, "made", (cases, 1.0))
    rows = gpu.run(Setup("cpu", True, tmp_path), ["made"], 60, 1, lambda _tables: None)["made"]
    assert [row["result"] for row in rows] == [
        "error: ValueError: five | six", "not installed: captum", "ok", "error: RuntimeError: no more",
    ]  # fmt: skip
    assert [page.is_bad(row) for row in rows] == [True, False, False, True]
    facts = {"command": "c", "minutes": 1.0, "machine": {"device": "cpu", "packages": {}}, "tables": {"made": rows}}
    assert "five \\| six" in page.text(facts)


def test_rows_are_skipped_when_the_time_is_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(gpu.SECTIONS, "made", (lambda _setup: iter([("a", dict)] * 2), 1.0))
    rows = gpu.run(Setup("cpu", True, tmp_path), ["made"], 0.0, 1, lambda _tables: None)["made"]
    assert [row["result"] for row in rows] == ["skipped: no time left"] * 2


def test_a_case_ends_with_the_time_of_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def endless() -> Row:
        while True:
            time.sleep(0.01)

    monkeypatch.setitem(gpu.SECTIONS, "made", (lambda _setup: iter([("a", endless), ("b", dict)]), 1.0))
    begin = time.monotonic()
    rows = gpu.run(Setup("cpu", True, tmp_path), ["made"], 0.3 / 60, 1, lambda _tables: None)["made"]
    assert [row["result"] for row in rows] == ["skipped: no time left"] * 2
    assert time.monotonic() - begin < 10


@pytest.mark.parametrize(
    ("found", "expected", "tolerance", "within", "result"),
    [
        ([1.0, 2.0], [1.0, 2.0], 0.0, 1.0, "ok"),
        ([1.0, 2.01], [1.0, 2.0], 1e-2, 1.0, "ok"),  # relative to the largest magnitude, 2
        ([1.0, 2.03], [1.0, 2.0], 1e-2, 1.0, "differs"),
        ([0.0, 0.0, 0.0, 9.0], [0.0, 0.0, 0.0, 0.0], 1e-2, 0.75, "ok"),
        ([0.0, 0.0, 8.0, 9.0], [0.0, 0.0, 0.0, 0.0], 1e-2, 0.75, "differs"),
        ([np.nan, 1.0], [np.nan, 1.0], 0.0, 1.0, "ok"),
        ([np.nan, 1.0], [0.0, 1.0], 9.0, 0.0, "differs: 1 of 2 values are NaN or infinite on one side alone"),
        ([1.0], [1.0, 2.0], 9.0, 0.0, "differs: 1 values for 2"),
    ],
)
def test_what_differs(found: Any, expected: Any, tolerance: float, within: float, result: str) -> None:
    assert compared(found, expected, tolerance, within=within)["result"] == result


def test_a_network_that_was_left_on_the_cpu_is_noticed() -> None:
    layer, given = torch.nn.Linear(2, 1), torch.ones(1, 2)
    with only_on("cpu"):
        layer(given)
    with only_on("cuda"), pytest.raises(RuntimeError, match="a layer runs on cpu, not on cuda"):
        layer(given)
    layer(given)


def test_maps_are_compared_in_their_own_units() -> None:
    expected = np.array([[[1000.0, 0.0]], [[0.0, 1.0]]])
    found = expected + np.array([[[1.0, 0.0]], [[0.0, 0.0]]])
    assert of_maps(found, expected, 2e-3)["result"] == "ok"
    assert of_maps(found, expected, 5e-4)["largest"] == pytest.approx(1e-3)
    found[1, 0, 1] = 1.1
    assert of_maps(found, expected, 2e-3)["result"] == "differs"


def test_the_worst_column_of_a_table_is_named() -> None:
    one = pa.table({"id": ["a", "b"], "map": [[1.0, 2.0], [3.0]], "flag": ["", "nan"], "pixels": [b"\x01", b"\x02"]})
    assert of_tables(one, one, 0.0)["result"] == "ok"
    other = one.set_column(1, "map", pa.array([[1.0, 2.5], [3.0]]))
    assert of_tables(other, one, 1e-2) | {"column": "map"} == of_tables(other, one, 1e-2)
    text = one.set_column(2, "flag", pa.array(["", ""]))
    assert of_tables(text, one, 1e-2)["column"] == "flag"
    assert of_tables(one.slice(1), one, 1.0)["result"].startswith("differs")

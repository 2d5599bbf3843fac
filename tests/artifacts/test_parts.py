"""Work in parts: equal to work at once, resumed after a kill, stopped between parts by a signal."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vitfaith.artifacts.parts import StoppedEarlyError, run_in_parts
from vitfaith.artifacts.provenance import images_digest, merge
from vitfaith.artifacts.store import read_provenance, write_table

SCHEMA = pa.schema([pa.field("image_id", pa.string(), False), pa.field("value", pa.int64(), False)])


class Doubler:
    """A stage that doubles the values of images and writes them with what the maps say; counts what it did."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.fail_at: int | None = None
        self.signal_at: int | None = None
        self.signals = [signal.SIGTERM]

    def __call__(self, inputs: Mapping[str, Path], outputs: Mapping[str, Path]) -> None:
        if len(self.sizes) == self.fail_at:
            raise RuntimeError("killed")
        if len(self.sizes) == self.signal_at:
            for number in self.signals:
                os.kill(os.getpid(), number)
        images, maps = (pq.read_table(inputs[name], partitioning=None) for name in ("images", "maps"))
        assert maps.column("image_id").unique().to_pylist() == images.column("image_id").to_pylist()
        self.sizes.append(len(images))
        doubled = [2 * v for v in images.column("value").to_pylist()]
        facts = {"stage": "double", "forwards": len(images)}
        write_table(images.set_column(1, "value", pa.array(doubled)), outputs["out"], SCHEMA, facts)
        write_table(maps, outputs["other"], SCHEMA, facts)


def files(folder: Path, count: int) -> tuple[dict[str, Path], dict[str, Path]]:
    folder.mkdir(parents=True, exist_ok=True)
    inputs = {"images": folder / "images.parquet", "maps": folder / "maps.parquet"}
    ids = [f"image-{i}" for i in range(count)]
    write_table(pa.table({"image_id": ids, "value": list(range(count))}), inputs["images"], SCHEMA, {})
    write_table(pa.table({"image_id": ids * 2, "value": list(range(2 * count))}), inputs["maps"], SCHEMA, {})
    return inputs, {"out": folder / "results" / "shard-000.parquet", "other": folder / "other.parquet"}


@settings(max_examples=15, deadline=None)
@given(count=st.integers(1, 9), part_size=st.integers(1, 10))
def test_parts_are_the_whole(tmp_path_factory: pytest.TempPathFactory, count: int, part_size: int) -> None:
    inputs, outputs = files(tmp_path_factory.mktemp("parts"), count)
    run = Doubler()
    run_in_parts(run, inputs, outputs, part_size=part_size, settings="a")
    assert max(run.sizes) <= part_size or len(run.sizes) == 1
    found = pq.read_table(outputs["out"], partitioning=None)
    assert found.to_pylist() == [{"image_id": f"image-{i}", "value": 2 * i} for i in range(count)]
    both = pq.read_table(outputs["other"], partitioning=None).to_pylist()
    assert sorted(row["value"] for row in both) == list(range(2 * count))
    assert read_provenance(outputs["out"]) == {"stage": "double", "forwards": count}
    assert not list(outputs["out"].parent.glob(".*"))


def test_retry_goes_on_after_a_kill(tmp_path: Path) -> None:
    inputs, outputs = files(tmp_path, 7)
    run = Doubler()
    run.fail_at = 2
    with pytest.raises(RuntimeError):
        run_in_parts(run, inputs, outputs, part_size=2, settings="a")
    assert run.sizes == [2, 2]
    assert not outputs["out"].exists()
    write_table(pa.table({"image_id": ["x"], "value": [1]}), outputs["out"].with_name("shard-001.parquet"), SCHEMA, {})
    assert pd.read_parquet(outputs["out"].parent)["image_id"].tolist() == ["x"], "parts look like results"
    run.fail_at = None
    run_in_parts(run, inputs, outputs, part_size=2, settings="a")
    assert run.sizes == [2, 2, 2, 1]
    assert len(pq.read_table(outputs["out"], partitioning=None)) == 7


@pytest.mark.parametrize("change", ["settings", "input", "part_size"])
def test_parts_of_other_settings_are_not_used(tmp_path: Path, change: str) -> None:
    inputs, outputs = files(tmp_path, 6)
    run = Doubler()
    run.fail_at = 2
    with pytest.raises(RuntimeError):
        run_in_parts(run, inputs, outputs, part_size=2, settings="a")
    run = Doubler()
    if change == "input":
        write_table(
            pa.table({"image_id": [f"image-{i}" for i in range(6)], "value": [9] * 6}), inputs["images"], SCHEMA, {}
        )
    run_in_parts(
        run,
        inputs,
        outputs,
        part_size=3 if change == "part_size" else 2,
        settings="b" if change == "settings" else "a",
    )
    assert sum(run.sizes) == 6
    assert not list(outputs["out"].parent.glob(".*"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_signal_stops_between_parts(tmp_path: Path, caplog: pytest.LogCaptureFixture, number: signal.Signals) -> None:
    inputs, outputs = files(tmp_path, 6)
    run = Doubler()
    run.signal_at, run.signals = 1, [number]
    before = signal.getsignal(number)
    with pytest.raises(StoppedEarlyError, match="4 of 6 images done"):
        run_in_parts(run, inputs, outputs, part_size=2, settings="a")
    assert signal.getsignal(number) is before
    assert run.sizes == [2, 2]
    run.signal_at = None
    with caplog.at_level("INFO"):
        run_in_parts(run, inputs, outputs, part_size=2, settings="a")
    assert run.sizes == [2, 2, 2]
    assert "4 of 6 images are kept" in caplog.text
    assert "6/6 images" in caplog.text


def test_a_second_interrupt_stops_at_once(tmp_path: Path) -> None:
    inputs, outputs = files(tmp_path, 6)
    run = Doubler()
    run.signal_at, run.signals = 1, [signal.SIGINT, signal.SIGINT]
    with pytest.raises(KeyboardInterrupt):
        run_in_parts(run, inputs, outputs, part_size=2, settings="a")
    assert run.sizes == [2]


@pytest.mark.parametrize("damage", ["cut off", "flipped"])
def test_a_part_that_was_damaged_is_made_again(tmp_path: Path, damage: str) -> None:
    inputs, outputs = files(tmp_path, 6)
    run = Doubler()
    run.fail_at = 2
    with pytest.raises(RuntimeError):
        run_in_parts(run, inputs, outputs, part_size=2, settings="a")
    part = next(outputs["out"].parent.glob(".*.parts/*/00001-out.parquet"))
    content = bytearray(part.read_bytes())
    content[len(content) // 2] ^= 1
    part.write_bytes(content if damage == "flipped" else content[:-20])
    run.fail_at = None
    run_in_parts(run, inputs, outputs, part_size=2, settings="a")
    assert run.sizes == [2, 2, 2, 2]
    found = pq.read_table(outputs["out"], partitioning=None).column("value").to_pylist()
    assert found == [0, 2, 4, 6, 8, 10]


def test_digest_of_images_adds_up() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 1, 4, 4), dtype=np.uint8)
    ids = [f"image-{i}" for i in range(5)]
    whole = images_digest(ids, pixels)
    parts = [
        {"images_digest": images_digest(ids[:2], pixels[:2])},
        {"images_digest": images_digest(ids[2:], pixels[2:])},
    ]
    assert merge(parts) == {"images_digest": whole}
    assert images_digest(ids[::-1], pixels) != whole
    assert images_digest(ids, 255 - pixels) != whole


def test_kernels_of_all_parts_are_named() -> None:
    here = {"kernels": {"fast": "on", "linear": "oneDNN", "processor": "AVX512"}}
    there = {"kernels": {"fast": "on", "linear": "torch"}}
    assert merge([here, here]) == here
    assert merge([here, there, here]) == {
        "kernels": {"fast": "on", "linear": "oneDNN and torch", "processor": "AVX512"}
    }

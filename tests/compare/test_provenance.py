"""The line of provenance of a page of findings: time, seed and images from a results folder, and the text on what changed."""

from __future__ import annotations

import json
from pathlib import Path

import provenance
import pyarrow as pa
import pytest
from benchmarks.machine import processor_name
from provenance import changed, core_seconds, duration, images, images_text, keep_seconds, line, made, seed_of

from vitfaith.artifacts.store import PROVENANCE_KEY, write_parquet
from vitfaith.compare.pages import MADE


def run(folder: Path, experiments: dict[str, int], seed: int = 5, first: int = 0) -> Path:
    """A results folder with scores of so many images of each experiment, two methods each."""
    scores = pa.table({"image_id": pa.array([], pa.string())})
    spec = {PROVENANCE_KEY: json.dumps({"spec": {"seed": seed}})}
    write_parquet(scores.replace_schema_metadata(spec), folder / "scores/dataset=d/shard-000.parquet")
    for name, count in experiments.items():
        ids = [f"image-{number}" for number in range(first, first + count)] * 2
        write_parquet(pa.table({"image_id": ids}), folder / f"tables/experiment={name}/scores.parquet")
    return folder


def spent(folder: Path, **seconds: float) -> None:
    for name, value in seconds.items():
        file = folder / "benchmarks" / name / "shard-000.jsonl"
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps({"s": value, "cpu_time": "NA"}) + "\n", encoding="utf-8")


def test_time_is_the_sum_over_all_jobs(tmp_path: Path) -> None:
    """Of the whole job: Snakemake's CPU time is one of the last sample, here 15.5 of 38 seconds."""
    spent(tmp_path, score=3.5, attribute=2.0)
    with (tmp_path / "benchmarks/score/shard-000.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"s": 38.0, "cpu_time": 15.5}\n')
    keep_seconds(tmp_path, "training", 1.0)
    assert core_seconds(tmp_path) == 44.5
    assert core_seconds(tmp_path / "no run") == 0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 core seconds"),
        (119, "119 core seconds"),
        (120, "2.0 core minutes"),
        (14.4 * 60, "14 core minutes"),
        (7199, "120 core minutes"),
        (9000, "2.5 core hours"),
        (40 * 3600, "40 core hours"),
    ],
)
def test_time_has_a_unit_that_suits_it(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("counts", "text"),
    [
        ([1], "n = 1 image"),
        ([256], "n = 256 images"),
        ([32, 64], "n = 32 and 64 images"),
        ([6, 24, 48, 512], "n = 6 to 512 images"),
    ],
)
def test_numbers_of_images(counts: list[int], text: str) -> None:
    assert images_text(counts) == text


def test_images_are_counted_by_experiment_and_summed_over_folders(tmp_path: Path) -> None:
    first, second = run(tmp_path / "a", {"x": 3, "y": 5}), run(tmp_path / "b", {"x": 4, "y": 5}, first=5)
    assert images([first]) == [3, 5]
    assert images([first], ["x"]) == [3]
    assert images([first, second], ["x"]) == [7]
    assert seed_of(first) == 5
    with pytest.raises(FileNotFoundError, match="no tables of z"):
        images([first], ["x", "z"])
    with pytest.raises(FileNotFoundError, match="any experiment"):
        images([tmp_path / "none"])
    with pytest.raises(FileNotFoundError, match="no scores"):
        seed_of(tmp_path / "none")


def test_the_line_of_a_page(tmp_path: Path) -> None:
    results = run(tmp_path, {"fashion_mnist": 16, "shapley": 8}, seed=2024)
    spent(results, score=36_000.0)
    text = made("findings", results, ["fashion_mnist"])
    assert text == (
        f"{MADE} findings` (`config/config.yaml`, `tools/findings.py`): study seed 2024, n = 16 images, "
        f"95 % intervals from 2,000 bootstrap resamples of the images; 10 core hours on {processor_name()}."
    )
    assert ", Wilson; " in made("findings", results, intervals="Wilson")


def test_a_tool_of_no_listed_page_names_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["/somewhere/tools/mine.py", "out"])
    assert line("no such page", ["seed 1"], 5).startswith("Made by `python tools/mine.py`: seed 1; 5 core seconds on ")
    assert changed("no such page") == ""


def test_what_changed_is_the_last_section(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tools").mkdir()
    listed = "a: {page: p.md, command: [tools/x.py], changed: 'SaCo rose.'}\nb: {page: p.md, command: [tools/x.py]}\n"
    (tmp_path / "tools" / "pages.yaml").write_text(listed, encoding="utf-8")
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    assert changed("a") == "\n## What changed\n\nSaCo rose.\n"
    assert changed("b") == ""


def test_the_processor_has_a_name_and_cores(tmp_path: Path) -> None:
    told = tmp_path / "cpuinfo"
    told.write_text("processor\t: 0\nmodel name\t: Some CPU\nmodel\t\t: 7\nprocessor\t: 1\nmodel name\t: Some CPU\n")
    assert processor_name(told) == "Some CPU, 2 cores"
    assert processor_name(tmp_path / "none")

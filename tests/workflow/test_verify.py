"""`vitfaith verify`: what is altered, stale, mixed or missing in a folder of results, and commands that put it right."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.workflow.conftest import Workflow
from vitfaith.artifacts.schemas import SCORES
from vitfaith.artifacts.store import read_any, read_provenance, write_table
from vitfaith.errors import ArtifactError
from vitfaith.study.load import load_study, read_yaml
from vitfaith.study.plan import Plan
from vitfaith.verify.expected import expected_files
from vitfaith.verify.files import FOLDERS
from vitfaith.verify.results import Verdict, commands, verify

SCORE = "scores/dataset=tiny/model=vit_patch4/attack=pgd/smoothing=dds/explained=clean_prediction/family=one_pass/shard-000.parquet"


@pytest.fixture
def inside(study: Workflow, monkeypatch: pytest.MonkeyPatch) -> Workflow:
    """A private copy of the finished study as the working directory; its plan is made with the copy's own code."""
    monkeypatch.chdir(study.folder)
    return study


def verdict(against_study: bool = True) -> Verdict:
    plan = Plan(load_study(read_yaml(Path("config/tiny.yaml")))) if against_study else None
    return verify(Path("results"), plan)


def found(verdict: Verdict) -> dict[str, str]:
    return {str(f.path.relative_to("results")): f.kind for f in verdict.findings}


def files_of_jobs() -> list[Path]:
    """Files in the folders that jobs write, sorted; times and notes of Snakemake's calls are not among them."""
    return sorted(p for name in FOLDERS for p in Path("results", name).rglob("*") if p.is_file())


def flip(path: Path, bit: int) -> None:
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


def call(workflow: Workflow, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "vitfaith", "verify", *arguments]
    return subprocess.run(command, cwd=workflow.folder, env=workflow.environment, capture_output=True, text=True)


def test_a_finished_study_is_in_order_and_the_plan_knows_each_of_its_files(inside: Workflow) -> None:
    seen = verdict()
    assert seen.findings == []
    assert seen.others == []
    expected = {e.path for e in expected_files(Plan(load_study(inside.config)))}
    shards = {p for p in Path("results").rglob("*.parquet") if "tables" not in p.parts}
    assert shards <= expected
    files = files_of_jobs()
    assert expected - shards == {p for p in files if p.name.startswith(".")}
    assert seen.files == len(files)
    assert seen.size == sum(p.stat().st_size for p in files)
    done = call(inside, "results", "--study", "config/tiny.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(files)} files" in done.stdout
    assert "all unchanged since they were written, and they match the study" in done.stdout


def test_no_flip_in_any_kind_of_file_is_silent(inside: Workflow) -> None:
    """A seeded subset of what benchmarks/bit_flips.py tries; half of the flips hit the end, where footers are."""
    draw = random.Random(3)
    files = files_of_jobs()
    assert {p.suffix for p in files} == {
        ".parquet",
        ".json",
        ".png",
        ".pdf",
        ".svg",
        ".rst",
        ".html",
        ".csv",
        ".md",
        ".tex",
    }
    for i in range(150):
        path = files[i % len(files)]
        whole = path.read_bytes()
        flip(path, draw.randrange(8 * max(0, len(whole) - 700 * (i % 2)) if i % 2 else 0, 8 * len(whole)))
        assert path in [f.path for f in verdict(against_study=False).findings], path
        path.write_bytes(whole)
    assert verdict().findings == []


def test_deleted_files_are_missing_but_for_caches(inside: Workflow) -> None:
    for name in (SCORE, "figures/tiny/gallery.svg", "tables/experiment=tiny/summary.csv", "pages/.tiny.json"):
        Path("results", name).unlink()
    Path("results/denoise/dataset=tiny/model=shared/attack=clean/smoothing=dds/shard-000.parquet").unlink()
    seen = found(verdict())
    assert seen == {
        SCORE: "missing",
        "figures/tiny/gallery.svg": "missing",
        "tables/experiment=tiny/summary.csv": "missing",
        "pages/.tiny.json": "missing",
        "pages/tiny.html": "altered",
    }


def test_other_settings_and_other_code_make_files_stale(inside: Workflow) -> None:
    config = inside.config
    inside.write_config({**config, "metrics": {**config["metrics"], "saco": {"groups": [6]}}})
    seen = verdict()
    assert {f.kind for f in seen.findings} == {"stale"}
    assert {f.path.parts[1] for f in seen.findings} == {"scores", "curves"}
    assert all(f.reason == "made with other settings: metrics" for f in seen.findings)
    inside.write_config(config)
    module = inside.folder / "src/vitfaith/stages/stability.py"
    module.write_text(module.read_text() + "\nEXTRA = 1\n")
    done = call(inside, "results", "--study", "config/tiny.yaml")
    assert done.returncode == 1
    lines = [line for line in done.stdout.splitlines() if line.startswith("stale")]
    assert len(lines) == 3
    assert all("results/stability" in line and "made by other code" in line for line in lines)


def test_a_shard_of_another_run_is_mixed(inside: Workflow) -> None:
    path = Path("results", SCORE)
    facts = read_provenance(path)
    for i, changed in enumerate([facts, facts, facts | {"code": "of another checkout"}]):
        write_table(read_any(path), path.with_name(f"shard-{i + 1:03d}.parquet"), SCORES, changed)
    name = SCORE.replace("shard-000", "shard-003")
    assert found(verdict(against_study=False)) == {name: "mixed"}
    newer = facts | {"versions": facts["versions"] | {"torch": "99"}}
    write_table(read_any(path), path, SCORES, newer)
    assert found(verdict(against_study=False)) == {name: "mixed", SCORE: "mixed"}


def test_a_file_of_another_condition_is_found(inside: Workflow) -> None:
    """Scores of a clean and of an attacked image have the same settings and code."""
    path, other = Path("results", SCORE), Path("results", SCORE.replace("attack=pgd", "attack=clean"))
    path.write_bytes(other.read_bytes())
    (problem,) = verdict().findings
    assert (problem.kind, problem.path) == ("altered", path)
    assert "attack=clean" in problem.reason


def test_files_of_no_job_are_told_and_files_without_a_digest_are_not_trusted(inside: Workflow) -> None:
    path = Path("results", SCORE)
    other = Path("results", SCORE.replace("attack=pgd", "attack=old"))
    other.parent.mkdir(parents=True)
    write_table(read_any(path), other, SCORES, read_provenance(path))
    seen = verdict()
    assert (seen.findings, seen.others) == ([], [other])
    pq.write_table(read_any(path), path)
    (problem,) = verdict().findings
    assert (problem.kind, problem.path, problem.reason) == ("altered", path, "it has no digest")


def test_what_it_advises_puts_things_right(inside: Workflow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {p: p.read_bytes() for p in Path("results").rglob("*.parquet")}
    flip(Path("results", SCORE), 999)
    flip(Path("results/figures/tiny/gallery.png"), 99)
    Path("results/pages/tiny.html").unlink()
    (elsewhere := tmp_path / "else where").mkdir()
    monkeypatch.chdir(elsewhere)  # from where the lines must work, too
    command = [sys.executable, "-m", "vitfaith", "verify", "--study", str(inside.folder / "config" / "tiny.yaml")]
    done = subprocess.run(command, env=inside.environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    lines = [line.strip() for line in done.stdout.splitlines() if line.startswith("  ")]
    assert len(lines) == 2
    for line in lines:
        subprocess.run(["bash", "-c", line], env=inside.environment, check=True, capture_output=True)
    monkeypatch.chdir(inside.folder)
    assert verdict().findings == []
    assert {p: p.read_bytes() for p in Path("results").rglob("*.parquet")} == before


def test_long_lists_go_through_a_pipe(inside: Workflow) -> None:
    for path in Path("results/scores").rglob("*.parquet"):
        flip(path, 555)
    for path in Path("results/tables").rglob("*.parquet"):
        flip(path, 555)
    seen = verdict()
    assert len(seen.findings) == len(list(Path("results/scores").rglob("*.parquet"))) + len(
        list(Path("results/tables").rglob("*.parquet"))
    )
    few = replace(seen, findings=seen.findings[:8])
    assert len(commands(few, Path("results"), None)) == 2
    study: dict[str, Any] = {"program": "uv run vitfaith", "folder": Path()}
    assert commands(few, Path("results"), Path("a b.yaml"), **study)[1].startswith(
        "uv run vitfaith run 'a b.yaml' -- all "
    )
    study["folder"] = Path("other")
    assert f" run s.yaml --directory {Path.cwd()} -- all " in commands(few, Path("results"), Path("s.yaml"), **study)[1]
    assert len(commands(replace(seen, findings=seen.findings * 3), Path("results"), None)) == 3
    files = call(inside, "results", "--study", "config/tiny.yaml", "--only", "files").stdout.splitlines()
    targets = call(inside, "results", "--study", "config/tiny.yaml", "--only", "targets").stdout.splitlines()
    assert files == [str(f.path) for f in seen.findings]
    assert targets == [str(path) for path in seen.targets]


def test_a_folder_without_results_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="holds no results"):
        verify(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ArtifactError, match="holds no results"):
        verify(tmp_path)

"""How Snakemake finds and reads the workflow."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def snakemake(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "snakemake", *arguments], cwd=cwd, capture_output=True, text=True)


def test_the_default_profile_is_found() -> None:
    done = snakemake("-n", "--quiet", "rules")
    assert done.returncode == 0, done.stderr
    assert "profiles/default" in done.stderr


@pytest.mark.parametrize("snakefile", ["Snakefile", "workflow/Snakefile"])
def test_both_snakefiles_plan_the_default_study(snakefile: str) -> None:
    done = snakemake("-n", "--quiet", "rules", "-s", snakefile, "--forceall")
    assert done.returncode == 0, done.stderr
    assert "attribute" in done.stdout


def test_lint_finds_nothing() -> None:
    done = snakemake("--lint")
    assert done.returncode == 0, done.stderr
    assert "Congratulations" in done.stderr + done.stdout


def test_the_library_does_not_know_snakemake() -> None:
    for path in (ROOT / "src" / "vitfaith").rglob("*.py"):
        assert "import snakemake" not in path.read_text(), path
        assert "from snakemake" not in path.read_text(), path


def test_a_wrong_key_stops_the_run_at_once_with_one_clear_line(tmp_path: Path) -> None:
    config = tmp_path / "study.yaml"
    config.write_text(
        (ROOT / "config" / "tiny.yaml").read_text().replace("stability: [top_k_overlap]", "stabilty: [x]")
    )
    done = snakemake("-n", "--configfile", str(config))
    assert done.returncode != 0
    assert "experiments.tiny.stabilty: unknown key (did you mean 'stability'?)" in done.stderr + done.stdout


def test_a_denoised_run_can_be_planned_by_target_file() -> None:
    target = "results/scores/dataset=tiny/model=vit_patch4/attack=pgd/smoothing=dds/explained=clean_prediction/family=one_pass/shard-000.parquet"
    done = snakemake("-n", "--quiet", "rules", "--configfile", "config/tiny.yaml", "--forceall", target)
    assert done.returncode == 0, done.stderr

"""What is refused before anything is written."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from vitfaith.errors import ArtifactError, ConfigError
from vitfaith.sharing.export import export


def plan(results: Path, *files: Path) -> Any:
    """Of a study with one experiment, ``e``, that asks for ``files``."""
    study = SimpleNamespace(experiments={"e": None}, plugins=())
    return SimpleNamespace(study=study, results=str(results), experiment_files=lambda name: [str(f) for f in files])


def test_unfinished_studies_are_no_benchmarks(tmp_path: Path) -> None:
    results, out = tmp_path / "results", tmp_path / "out"
    scores = results / "scores" / "shard-000.parquet"
    with pytest.raises(ArtifactError, match=r"1 of 1 results are missing, first '.*shard-000.parquet'"):
        export(plan(results, scores), tmp_path / "study.yaml", out)
    scores.parent.mkdir(parents=True)
    scores.touch()
    with pytest.raises(ArtifactError, match=r"experiment=e' holds no tables; run the study to its end"):
        export(plan(results, scores), tmp_path / "study.yaml", out)
    assert not out.exists()


def test_files_are_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "note.txt").touch()
    for out in (tmp_path / "out", tmp_path / "out" / "note.txt"):
        with pytest.raises(ConfigError, match="holds files already; name a new folder"):
            export(plan(tmp_path / "results"), tmp_path / "study.yaml", out)

"""A finished study as a folder to publish: everything that is ours to give, nothing that is not."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from vitfaith.api.results import read
from vitfaith.api.summary import leaderboard
from vitfaith.artifacts.store import open_any, read_provenance, write_parquet
from vitfaith.errors import ArtifactError, ConfigError
from vitfaith.sharing.card import write_card
from vitfaith.sharing.images import digests
from vitfaith.sharing.layout import BOARD, FOLDERS, IMAGES, ORIGIN, STUDY, write_sums
from vitfaith.shipped import is_shipped
from vitfaith.study.load import read_yaml
from vitfaith.study.plan import Plan

OF_IMAGES = {"pixels", "picture"}
"""Columns that hold images: tables with one of them stay at home."""


def export(plan: Plan, config: Path, out: Path) -> list[str]:
    """Write the results of a study and all that they were made with into the new folder ``out``.

    It holds maps, scores, curves, predictions and tables, the study's file and plugins, trained weights, digests of
    images, provenance, the leaderboard, a dataset card and checksums. It holds no pixels: images belong to whoever made
    the dataset. ``vitfaith.read`` and ``vitfaith.leaderboard`` take the folder as one of results.

    Args:
        plan: of the study, made in the folder where it ran; ``plan.results`` is the folder of its results.
        config: its YAML file.
        out: a folder that does not exist, or is empty.

    Returns:
        What a person should know before publishing, a line each.

    Raises:
        ConfigError: ``out`` holds files.
        ArtifactError: a result is missing or damaged.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"'{out}' holds files already; name a new folder")
    files = list(dict.fromkeys(Path(path) for name in plan.study.experiments for path in plan.experiment_files(name)))
    missing = [path for path in files if not path.is_file()]
    if missing:
        raise ArtifactError(
            f"{len(missing)} of {len(files)} results are missing, first '{missing[0]}'; run the study to its end"
        )
    for name in plan.study.experiments:
        tables = Path(plan.results, "tables", f"experiment={name}")
        if not any(tables.glob("*.parquet")):
            raise ArtifactError(f"'{tables}' holds no tables; run the study to its end")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as temporary:
        folder = Path(temporary) / "benchmark"
        _fill(plan, config, files, folder)
        if out.exists():
            out.rmdir()
        folder.rename(out)
    return _warnings(config)


def _fill(plan: Plan, config: Path, files: list[Path], folder: Path) -> None:
    results = Path(plan.results)
    for path in files:
        if path.relative_to(results).parts[0] in FOLDERS:
            open_any(path)  # a damaged file is found here, not by its users
            _copy(path, folder / path.relative_to(results))
    for path in sorted(results.glob("tables/experiment=*/*.parquet")):
        if path.parent.name.partition("=")[2] in plan.study.experiments and not OF_IMAGES & set(
            open_any(path).schema_arrow.names
        ):
            _copy(path, folder / path.relative_to(results))
    for path in _trained(results):
        _copy(path, folder / path.relative_to(results))
    _copy(config, folder / STUDY)
    for plugin in plan.study.plugins:
        if _is_inside(plugin):
            _copy(plugin, folder / plugin)
    write_parquet(digests(p for p in files if p.relative_to(results).parts[0] == "attack"), folder / IMAGES)
    refresh(folder)


def refresh(folder: Path) -> int:
    """Write again what is made from the other files of a benchmark: leaderboard, provenance, card, checksums."""
    board = leaderboard(read(folder))
    write_parquet(pa.Table.from_pandas(board, preserve_index=False), folder / BOARD)
    write_parquet(pa.Table.from_pandas(_provenance(folder), preserve_index=False), folder / ORIGIN)
    write_card(folder, board)
    return write_sums(folder)


def _trained(results: Path) -> Iterator[Path]:
    """Weights that the study trained, with their logs; checkpoints of unfinished trainings are left out."""
    for path in sorted((results / "train").rglob("*")):
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(results).parts):
            yield path


def _provenance(folder: Path) -> pd.DataFrame:
    """One row for each file: stage, code, device, versions and settings; JSON where a value has parts."""
    rows = []
    for path in sorted(p for name in FOLDERS for p in (folder / name).rglob("*.parquet")):
        facts = read_provenance(path, checked=False)
        row: dict[str, Any] = {"path": path.relative_to(folder).as_posix()}
        row |= {name: facts.get(name) for name in ("stage", "code", "device", "dtype")}
        row |= {name: json.dumps(facts.get(name), sort_keys=True) for name in ("kernels", "versions", "spec")}
        rows.append(row)
    return pd.DataFrame(rows)


def _copy(path: Path, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, to)


def _is_inside(path: Path) -> bool:
    return not path.is_absolute() and ".." not in path.parts


def _warnings(config: Path) -> list[str]:
    """Entries of the study's file that others cannot use, or should not see."""
    lines = []
    for key, value in _texts(read_yaml(config), ""):
        if (
            "://" not in value
            and (Path(value).is_absolute() or value.startswith(("~", "../")))
            and not is_shipped(value)
        ):
            lines.append(
                f"{key}: '{value}' is a place on this machine, and others will read it; put the file beside the study"
            )
    return lines


def _texts(value: Any, key: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield key, value
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, item in pairs:
        yield from _texts(item, f"{key}.{name}" if key else str(name))

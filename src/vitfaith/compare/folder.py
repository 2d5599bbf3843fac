"""The scores in any folder of results, and what its files say of how they were made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from vitfaith.artifacts.named import named_files
from vitfaith.artifacts.schemas import SCORES
from vitfaith.artifacts.store import partition_values, read_provenance
from vitfaith.errors import ArtifactError, did_you_mean
from vitfaith.explained import CLEAN_PREDICTION, COLUMN, as_value
from vitfaith.metrics.registry import METRICS
from vitfaith.tables.clusters import read_clusters, with_clusters
from vitfaith.tables.collect import CONDITION, read_conditions, sort_rows

KEYS = (*CONDITION, "method", "metric", "variant")


def score_files(results: Path) -> list[Path]:
    """Files with scores that the last run below a results folder was asked for, or all where no run left a record.

    Raises:
        ArtifactError: there is none.
    """
    found = _all_score_files(results)
    if not found:
        raise ArtifactError(f"'{results}' has no scores/ with Parquet files; name the results folder of a run")
    named, others = named_files(results, found)
    if not named:
        raise ArtifactError(
            f"'{results}' has no scores of the last run yet, only {len(others)} files of other settings; finish the run"
        )
    return named


def left_out(results: Path) -> str:
    """One line on the scores in a folder that its last run did not ask for; empty where there are none."""
    others = named_files(results, _all_score_files(results))[1]
    if not others:
        return ""
    places = sorted({str(path.parent.parent.relative_to(results / "scores")) for path in others})
    shown = ", ".join(places[:3]) + (" …" if len(places) > 3 else "")
    return (
        f"left out: {len(others)} files with scores that the last run did not ask for ({shown}); "
        "'vitfaith clean STUDY.yaml' removes what no study names"
    )


def _all_score_files(results: Path) -> list[Path]:
    return _files(results, "scores")


def _files(results: Path, stage: str) -> list[Path]:
    return sorted(p for p in (results / stage).rglob("*.parquet") if not _hidden(p.relative_to(results)))


def _hidden(path: Path) -> bool:
    return any(part.startswith((".", "_")) for part in path.parts)


def read_scores(results: Path, chosen: Mapping[str, str]) -> pd.DataFrame:
    """All scores of a folder as one frame with the condition in columns.

    Args:
        chosen: column → the one value to keep; of the explained classes also an index.

    Raises:
        ArtifactError: there are no scores, or none with a chosen value (the message lists the existing values).
    """
    files = score_files(results)
    chosen = {column: as_value(value) if column == COLUMN else value for column, value in chosen.items()}
    for column, value in chosen.items():
        if column not in CONDITION:
            continue
        kept = [path for path in files if _place(path)[column] == value]
        if not kept:
            raise _none_with(column, value, {_place(path)[column] for path in files}, results)
        files = kept
    frame = read_conditions(files, SCORES).astype(dict.fromkeys(KEYS, "str"))
    for column, value in chosen.items():
        values = set(frame[column])
        if value not in values:
            raise _none_with(column, value, values, results)
        frame = frame[frame[column] == value]
    # runs that were copied without their shards have no clusters
    shards = [(partition_values(p)["dataset"], p) for p in sorted((results / "shard").rglob("*.parquet"))]
    clusters = read_clusters((d, p) for d, p in shards if not _hidden(p.relative_to(results)))
    return with_clusters(sort_rows(frame, [*KEYS, "image_id"]), clusters)


def read_folds(folders: Sequence[Path], chosen: Mapping[str, str]) -> pd.DataFrame:
    """All scores of several folders as one frame, as :func:`read_scores`: studies of one name on different images, as the folds of one.

    Raises:
        ArtifactError: as :func:`read_scores`, or two folders have a score of one image for the same method and metric.
    """
    frame = pd.concat([read_scores(folder, chosen) for folder in folders], ignore_index=True)
    twice = frame.duplicated([*KEYS, "image_id"])
    if twice.any():
        raise ArtifactError(
            f"{int(twice.sum())} scores are in several of {', '.join(map(str, folders))}, for example of image "
            f"'{frame.loc[twice, 'image_id'].iloc[0]}'; name folders whose studies hold out different images"
        )
    return sort_rows(frame, [*KEYS, "image_id"])


def map_files(results: Path) -> list[Path]:
    """Files with maps that the last run was asked for; none where a folder was copied without them."""
    return named_files(results, _files(results, "attribute"))[0]


def _none_with(column: str, value: str, values: set[str], results: Path) -> ArtifactError:
    there = sorted(values)
    hint = did_you_mean(value, there)
    return ArtifactError(f"no scores with {column} '{value}' in '{results}'{hint}; there are {', '.join(there)}")


def _place(path: Path) -> dict[str, str]:
    return {COLUMN: CLEAN_PREDICTION, **partition_values(path)}


def traits(results: Path) -> dict[str, Mapping[str, Any]]:
    """Metric id → traits of what it uses (``direction``, ``pooled`` …), from the files' own specifications."""
    found: dict[str, Mapping[str, Any]] = {}
    for path in score_files(results):
        for id_, settings in read_provenance(path).get("spec", {}).get("metrics", {}).items():
            if id_ not in found and settings["use"] in METRICS:
                found[id_] = METRICS[settings["use"]].traits
    return found


def settings_of(results: Path) -> dict[tuple[str, str], Any]:
    """(stage, path within the specification, or ``code`` or ``versions.…``) → values that occur, as sorted texts."""
    found: dict[tuple[str, str], set[str]] = {}
    others = set(named_files(results, _all_score_files(results))[1])
    for path in sorted(results.rglob("*.parquet")):
        if _hidden(path.relative_to(results)) or path in others:
            continue
        facts = read_provenance(path)
        if "stage" not in facts:
            continue
        for name, value in _flat({k: facts.get(k) for k in ("spec", "code", "versions")}):
            found.setdefault((facts["stage"], name), set()).add(str(value))
    return {key: sorted(values) for key, values in found.items()}


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}".removeprefix("."))
    else:
        yield name.removeprefix("spec."), value

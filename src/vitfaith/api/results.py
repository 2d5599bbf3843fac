"""Results of a study as data frames."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from vitfaith.artifacts import schemas
from vitfaith.artifacts.attacked import read_images, shard_of
from vitfaith.artifacts.named import named_files
from vitfaith.artifacts.store import partition_values, read_any, read_dataset, read_table
from vitfaith.errors import InputError, did_you_mean
from vitfaith.explained import CLEAN_PREDICTION, COLUMN, of_class
from vitfaith.tables.collect import CONDITION, read_conditions, sort_rows

if TYPE_CHECKING:
    from pandas import DataFrame

PER_IMAGE: dict[str, tuple[str, pa.Schema]] = {
    "scores": ("scores", schemas.SCORES),
    "curves": ("curves", schemas.CURVES),
    "stability": ("stability", schemas.STABILITY),
    "sanity": ("sanity", schemas.SANITY),
    "predictions": ("predictions", schemas.PREDICTIONS),
    "certificates": ("certificates", schemas.CERTIFICATES),
    "maps": ("attribute", schemas.MAPS),
    "images": ("attack", schemas.IMAGES),
}
"""Table → its folder and schema; others are of an experiment."""

OF_INPUTS: dict[str, Callable[[Path, pa.Schema], pa.Table]] = {
    "predictions": read_table,
    "images": lambda path, _schema: read_images(path, shard_of(path)),
}
"""Tables that are the same whichever class is explained, and how a file is read."""

_NAMES = (*CONDITION, "family", "method", "metric", "variant", "curve", "certificate", "check", "reference")
_ORDER = ("certificate", "check", "reference", "method", "metric", "curve", "variant", "k", "step", "image_id")


def read(results: str | Path, table: str = "scores", **where: Any) -> DataFrame:
    """Rows of a study's results, with the condition (dataset, model, attack, smoothing, explained) as columns of strings.

    Args:
        results: the folder ``results`` of a study.
        table: a table of results per image (scores, curves, stability, sanity, predictions, certificates, maps, or images,
            which has the clean and attacked images with their pixels and classes), or a table of an experiment (summary,
            statistics, agreement, costs, gallery …). If several experiments have the table, choose one by ``experiment=``.
        where: rows to keep, as column and value or list of values: ``attack="pgd"``; ``explained=0`` means ``class_0``.

    Returns:
        The columns of the table (docs/columns.md). The order of rows does not depend on shards.

    Raises:
        InputError: there is no such table or column, or a column of the condition or of names has no such value.
        ArtifactError: a file is damaged.

    Example:
        >>> import vitfaith as vf
        >>> scores = vf.read("results", attack="pgd", smoothing="none")  # doctest: +SKIP
        >>> board = vf.leaderboard(scores)  # doctest: +SKIP
    """
    folder = Path(results)
    wanted = {name: _texts(values) for name, values in where.items()}
    if COLUMN in wanted:
        wanted[COLUMN] = [of_class(int(one)) if one.isascii() and one.isdigit() else one for one in wanted[COLUMN]]
    if table in PER_IMAGE:
        name, schema = PER_IMAGE[table]
        found = sorted((folder / name).glob("**/*.parquet"))
        found = named_files(folder, found)[0] or found
        default = {} if table in OF_INPUTS else {COLUMN: CLEAN_PREDICTION}
        _check_values(table, wanted, [default | partition_values(path) for path in found])
        paths = [path for path in found if _is_asked(path, wanted)]
        if found and not paths:
            paths, wanted = found[:1], {**wanted, "image_id": []}
        if not paths:
            frame = None
        elif table in OF_INPUTS:
            frame = read_dataset(paths, schema, OF_INPUTS[table]).to_pandas()
        else:
            frame = read_conditions(paths, schema)
    else:
        files = sorted(folder.glob(f"tables/experiment=*/{table}.parquet"))
        _check_values(table, wanted, [partition_values(path) for path in files])
        files = [path for path in files if _is_asked(path, wanted)]
        if len(files) > 1:
            names = [partition_values(path)["experiment"] for path in files]
            raise InputError(f"'{folder}' has the table '{table}' of {', '.join(names)}; choose one with experiment=")
        frame = read_any(files[0]).to_pandas() if files else None
        wanted.pop("experiment", None)
    if frame is None:
        known = tables_in(folder)
        raise InputError(
            f"'{folder}' has no table '{table}'{did_you_mean(table, known)}; it has {', '.join(known) or 'none'}"
        )
    for name in (*CONDITION, "family"):
        if name in frame:
            frame[name] = frame[name].astype(str)
    names = [name for name in _NAMES if name in wanted and name in frame]
    if len(frame) and wanted.get("image_id") != []:
        _check_values(table, wanted, [{name: one} for name in names for one in frame[name].astype(str).unique()])
    for name, values in wanted.items():
        if name not in frame:
            raise InputError(f"table '{table}' has no column '{name}'{did_you_mean(name, frame.columns)}")
        frame = frame[frame[name].astype(str).isin(values)]
    if table not in PER_IMAGE:
        return frame.reset_index(drop=True)
    return sort_rows(frame, [name for name in (*CONDITION, *_ORDER) if name in frame])


def tables_in(results: Path) -> list[str]:
    """Names of the tables that a folder of results has."""
    found = [name for name, (folder, _) in PER_IMAGE.items() if next((results / folder).glob("**/*.parquet"), None)]
    return [*found, *sorted({path.stem for path in results.glob("tables/experiment=*/*.parquet")} - set(PER_IMAGE))]


def _texts(values: Any) -> list[str]:
    several = isinstance(values, list | tuple | set | frozenset)
    return [str(value) for value in values] if several else [str(values)]


def _check_values(table: str, wanted: Mapping[str, list[str]], places: Sequence[Mapping[str, str]]) -> None:
    """Raise :class:`InputError` for a value that no place has in a column that some have."""
    for name, values in wanted.items():
        known = sorted({place[name] for place in places if name in place})
        for value in values if known else []:
            if value not in known:
                raise InputError(
                    f"table '{table}' has no {name} '{value}'{did_you_mean(value, known)}; there are {', '.join(known)}"
                )


def _is_asked(path: Path, wanted: dict[str, list[str]]) -> bool:
    return all(value in wanted.get(name, [value]) for name, value in partition_values(path).items())

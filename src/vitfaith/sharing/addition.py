"""Maps from outside on a benchmark: which conditions they are of, and the study that scores them there."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml

from vitfaith.api.results import read
from vitfaith.artifacts.paths import Condition
from vitfaith.artifacts.schemas import CURVES, MAPS, SCORES
from vitfaith.artifacts.store import (
    atomic_path,
    open_any,
    read_any,
    read_provenance,
    write_parquet,
    write_table,
)
from vitfaith.errors import ArtifactError, ConfigError, InputError, did_you_mean
from vitfaith.explained import CLEAN_PREDICTION
from vitfaith.explainers.external import check_names, maps_of_table
from vitfaith.registries import REGISTRIES
from vitfaith.sharing.layout import IMAGES, STUDY, check_sums
from vitfaith.study.load import load_study, read_yaml
from vitfaith.study.plan import Plan
from vitfaith.tables.collect import CONDITION

PLACE = ".add"
"""Folder in the benchmark with the study that scores the maps, and the maps by condition."""

FAMILY = "external"

TARGET = "target"
"""Column with the class that a map explains."""

_SIMPLEST = {"attack": "clean", "smoothing": "none", "explained": CLEAN_PREDICTION}
"""Default condition of maps without such a column."""

_LONGEST_NAME = 80
"""Characters; names become parts of file names and of ids."""

_TAKEN = {"attribute": MAPS, "scores": SCORES, "curves": CURVES}
"""Result files of added maps that go into the benchmark."""


@dataclass(frozen=True)
class Addition:
    """Maps that are ready to be scored.

    Attributes:
        folder: of the benchmark, in which Snakemake runs.
        config: study of nothing but these maps, from ``folder``.
        images: files of images that it needs, from ``folder``.
        scores: files of scores that it writes.
        maps: for each of these, the file with the scored maps.
        name: what the method is called in the leaderboard.
    """

    folder: Path
    config: Path
    images: list[str]
    scores: list[str]
    maps: list[str]
    name: str


def prepare(maps: Path, folder: Path, name: str, *, resolution: str = "patch") -> Addition:
    """Write the study that scores ``maps`` under the conditions of the benchmark in ``folder``.

    Args:
        maps: Parquet file with the columns image_id and map, row by row (rows, columns state its shape); dataset, model,
            attack, smoothing, explained where the maps are of several conditions. Without such a column they are of the
            only value that the benchmark has, or else of clean images, no smoothing, the clean prediction. A column target,
            the class that a map explains, is compared with the class that the benchmark's maps explain.
        name: a method that the benchmark does not have.
        resolution: ``patch``, or ``pixel`` to keep maps of the image's size.

    Raises:
        ArtifactError: the benchmark or the file is damaged, an image is there twice, or a map holds no numbers.
        ConfigError: the name is taken or no name; InputError: the maps are of no condition of the benchmark or not of all its
            images, or a map explains another class.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9_.+-]*", name) or len(name) > _LONGEST_NAME:
        raise ConfigError(
            f"name '{name}': use a lower-case letter or digit, then lower-case letters, digits, and _ . + -, at most {_LONGEST_NAME} "
            "characters"
        )
    check_sums(folder)
    open_any(folder / IMAGES)
    raw = _with_trained_files(_study(folder / STUDY))
    scores = read(folder)
    if name in set(scores["method"]) | set(raw.get("explainers") or {}):
        raise ConfigError(f"the benchmark has a method '{name}' already; choose another name")
    table = _read(maps)
    conditions = scores.drop_duplicates(CONDITION)[CONDITION].astype(str)
    parts = _by_condition(table, [{name: row[name] for name in CONDITION} for _, row in conditions.iterrows()], maps)
    place = folder / PLACE / name
    explainers, experiments = {}, {}
    known: dict[Condition, tuple[str, pa.Table]] = {}
    for number, (condition, part) in enumerate(parts):
        here = scores[(scores[CONDITION].astype(str) == list(condition.values())).all(axis=1)]
        _check_maps(part, sorted(here["image_id"].astype(str).unique()), condition, maps)
        explained = raw["models"][condition["model"]].get("maps_of") or condition["model"]
        of_maps = Condition(**{**condition, "model": explained})
        if TARGET in part.column_names:
            _check_targets(part, _targets(folder, of_maps), condition, maps)
            part = part.drop_columns(TARGET)
        # models that score the maps of one model read one file
        id_, first = known.setdefault(of_maps, (f"{name}.{len(known)}", part))
        _check_same(part, first, condition, explained, maps)
        file = f"{PLACE}/{name}/{id_.removeprefix(name + '.')}.parquet"
        write_parquet(first, folder / file)
        explainers[id_] = {"explainer": "external", "path": file, "resolution": resolution}
        experiments[f"added.{number}"] = {
            **{f"{axis}s": [condition[axis]] for axis in ("dataset", "model", "attack", "smoothing")},
            "targets": [_target(condition["explained"])],
            "explainers": [id_],
            "metrics": sorted(here["metric"].astype(str).unique()),
        }
    study = {**raw, "explainers": {**(raw.get("explainers") or {}), **explainers}, "experiments": experiments}
    with atomic_path(place / STUDY) as temporary:
        temporary.write_text(yaml.safe_dump(study, sort_keys=False), encoding="utf-8")
    return _addition(study, folder, place / STUDY, [c for c, _ in parts], name)


def take(addition: Addition) -> None:
    """Put the scores, curves and maps of ``addition``, which Snakemake has made, into the benchmark under its name.

    Raises:
        ArtifactError: a file is missing or damaged.
    """
    for scores, maps in zip(addition.scores, addition.maps, strict=True):
        for stage, schema in _TAKEN.items():
            inside = Path(maps if stage == "attribute" else scores.replace("/scores/", f"/{stage}/", 1))
            source = addition.folder / inside
            table = read_any(source)
            names = pa.array([addition.name] * len(table), pa.string())
            table = table.set_column(table.schema.get_field_index("method"), "method", names)
            target = (
                inside.relative_to("results").as_posix().replace(f"family={FAMILY}", f"family=added.{addition.name}")
            )
            write_table(table, addition.folder / target, schema, read_provenance(source))


def _addition(
    study: Mapping[str, Any], folder: Path, config: Path, conditions: Sequence[Mapping[str, str]], name: str
) -> Addition:
    plan = Plan(load_study(study))
    images, scores, maps = [], [], []
    for values in conditions:
        condition = Condition(**values)
        explained = plan.of_maps(condition)
        images += plan.files("attack", replace(explained, smoothing="", explained=""))
        scores += plan.files("scores", condition, FAMILY)
        maps += plan.files("attribute", explained, FAMILY)
    return Addition(folder, config.relative_to(folder), list(dict.fromkeys(images)), scores, maps, name)


def _target(explained: str) -> str | int:
    """The value of ``targets`` for a value of ``explained``: the number of ``class_3``, else the word."""
    number = explained.removeprefix("class_")
    return int(number) if number != explained and number.isdigit() else explained


def _study(path: Path) -> dict[str, Any]:
    """The study of a benchmark, which is known to be one."""
    raw = read_yaml(path)
    try:
        load_study(raw)
    except ConfigError as error:
        raise ConfigError(f"'{path}': {error}") from error
    return raw


def _with_trained_files(raw: dict[str, Any]) -> dict[str, Any]:
    """The study with the weights that it trained given as files of the benchmark, so that nothing is trained again."""
    found = {key: dict(raw.get(key) or {}) for key in ("models", "denoisers", "explainers")}
    for id_, section in found["models"].items():
        if section.get("weights") == "trained":
            found["models"][id_] = {**_without_training(section), "weights": f"train/classifier/{id_}.safetensors"}
    for id_, section in found["denoisers"].items():
        if section.get("path") == "trained":
            found["denoisers"][id_] = {**_without_training(section), "path": f"train/denoiser/{id_}"}
    for id_, section in found["explainers"].items():
        if section and section.get("weights") == "trained":
            kind = REGISTRIES["explainers"][section.get("explainer", id_)].traits.get("trained_by", "diffmask")
            found["explainers"][id_] = {**_without_training(section), "weights": f"train/{kind}/{id_}"}
    return {**raw, **{key: value for key, value in found.items() if key in raw}}


def _without_training(section: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in section.items() if key != "training"}


def _targets(folder: Path, condition: Condition) -> dict[str, int]:
    """Image → class that the benchmark's maps of a condition explain."""
    found: dict[str, int] = {}
    for path in sorted((folder / "attribute" / condition.folder).glob("family=*/*.parquet")):
        table = pq.read_table(path, columns=["image_id", TARGET], partitioning=None)
        found |= dict(zip(table["image_id"].to_pylist(), table[TARGET].to_pylist(), strict=True))
    return found


def _check_targets(part: pa.Table, known: Mapping[str, int], condition: Mapping[str, str], maps: Path) -> None:
    """Raise :class:`InputError` where a map explains another class than the benchmark's maps of its image do."""
    given = part[TARGET]
    if not pa.types.is_integer(given.type) or given.null_count:
        raise InputError(
            f"'{maps}', column 'target': give the number of the explained class for every map, or no column"
        )
    pairs = zip(part["image_id"].to_pylist(), given.to_pylist(), strict=True)
    wrong = [(image, target) for image, target in pairs if target != known.get(image, target)]
    if wrong:
        image, target = wrong[0]
        raise InputError(
            f"'{maps}', column 'target': {len(wrong)} of {len(part)} maps explain another class than the benchmark under "
            f"{', '.join(condition.values())}, such as image '{image}' with {target} instead of {known[image]}; explain that "
            "class, or name the condition that explains yours in the column 'explained'"
        )


def _check_maps(part: pa.Table, images: Sequence[str], condition: Mapping[str, str], maps: Path) -> None:
    """Raise an error unless ``part`` has one map of numbers for each of ``images``; whether its size fits is seen later."""
    found = maps_of_table(part, None, maps)
    missing = [name for name in images if name not in found]
    if missing:
        raise InputError(
            f"'{maps}' has no map of {len(missing)} of the {len(images)} images under {', '.join(condition.values())}, first "
            f"'{missing[0]}'; add them, since methods are compared on the same images"
        )


def _check_same(part: pa.Table, first: pa.Table, condition: Mapping[str, str], explained: str, maps: Path) -> None:
    """Raise :class:`InputError` unless two models that score the maps of ``explained`` are given the same maps."""
    one, other = (maps_of_table(table, None, maps) for table in (part, first))
    wrong = next((n for n in one if n in other and one[n].tobytes() != other[n].tobytes()), None)
    if wrong is not None:
        raise InputError(
            f"'{maps}': model '{condition['model']}' scores the maps of '{explained}', but its map of image '{wrong}' is another one; "
            "give the same maps for all models that score them"
        )


def _read(maps: Path) -> pa.Table:
    if not maps.is_file():
        raise ConfigError(f"'{maps}' does not exist; name the Parquet file of your maps")
    if maps.suffix != ".parquet":
        raise ConfigError(f"'{maps}' does not end in .parquet; write the maps with the columns image_id and map")
    try:
        table = pq.read_table(maps)
    except (pa.ArrowException, OSError) as error:
        why = str(error).partition("\n")[0]
        raise ArtifactError(f"'{maps}' cannot be read as Parquet: {why}; write it again, each column once") from error
    for column in ("image_id", "map"):
        if column not in table.column_names:
            raise InputError(f"'{maps}' has no column '{column}'{did_you_mean(column, table.column_names)}")
    check_names(table.schema.field("image_id").type, maps)
    if table["image_id"].null_count:
        raise InputError(
            f"'{maps}', column 'image_id': {table['image_id'].null_count} names are missing; name the image of every map"
        )
    return table.replace_schema_metadata(None)


def _by_condition(
    table: pa.Table, known: Sequence[Mapping[str, str]], maps: Path
) -> list[tuple[dict[str, str], pa.Table]]:
    """(Condition, its maps) for each condition that the table names, in the order of their names."""
    for name in CONDITION:
        values = sorted({condition[name] for condition in known})
        if name in table.column_names:
            given = sorted(set(map(str, table[name].to_pylist())))
            wrong = next((value for value in given if value not in values), None)
            if wrong is not None:
                raise InputError(
                    f"'{maps}', column '{name}': the benchmark has no '{wrong}'{did_you_mean(wrong, values)}; it has "
                    f"{', '.join(values)}"
                )
            table = table.set_column(table.schema.get_field_index(name), name, table[name].cast(pa.string()))
            continue
        value = values[0] if len(values) == 1 else _SIMPLEST.get(name)
        if value not in values:
            raise InputError(f"'{maps}' needs the column '{name}': the benchmark has {', '.join(values)}")
        table = table.append_column(name, pa.array([value] * len(table), pa.string()))
    found = []
    kept = [name for name in ("image_id", "map", "rows", "columns", TARGET) if name in table.column_names]
    for values in table.group_by(CONDITION).aggregate([]).sort_by([(n, "ascending") for n in CONDITION]).to_pylist():
        condition = {name: values[name] for name in CONDITION}
        if condition not in known:
            told = ", ".join(condition.values())
            raise InputError(f"'{maps}': the benchmark has no condition {told}, though it has each of these elsewhere")
        mask = pa.array([True] * len(table))
        for name, value in condition.items():
            mask = pc.and_(mask, pc.equal(table[name], value))
        found.append((condition, table.filter(mask).select(kept)))
    if not found:
        raise InputError(f"'{maps}' holds no map")
    return found

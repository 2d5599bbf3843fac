"""A CSV file of paths and labels."""

from __future__ import annotations

import csv as csv_format
import re
from pathlib import Path

from pydantic import Field

from vitfaith.datasets.files.class_lists import as_labels, check_unique, labels_of, read_class_list
from vitfaith.datasets.files.pictures import MaskParameters, masks_of
from vitfaith.datasets.files.preprocessing import PictureParameters
from vitfaith.datasets.files.source import source_of_files
from vitfaith.datasets.registry import DATASETS, Source
from vitfaith.errors import ArtifactError, did_you_mean
from vitfaith.lazy import np

_NUMBER = re.compile(r"\s*[+-]?\d+(\.\d*)?\s*", re.ASCII)
"""Labels that count classes; 1.0 is one, as tables with gaps are written."""

COLUMNS = ("path", "label", "mask", "image_id", "cluster")


class CsvParameters(MaskParameters, PictureParameters):
    """Where the list is."""

    path: Path = Field(
        description="CSV with a header: path, label (number or class name), and optionally mask, image_id and cluster (images of one object, "
        "scene or subject share a name); "
        "paths are relative to the file's folder"
    )
    classes: Path | None = Field(
        None, description="class list in the order of the model's labels, for labels that are names (see image_folder)"
    )


def read_rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    """(line, row) of the list; raises :class:`ArtifactError` naming the line."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv_format.DictReader(file, strict=True)
            header = list(reader.fieldnames or [])
            for name in ("path", "label"):
                if name not in header:
                    raise ArtifactError(
                        f"'{path}' has no column '{name}'{did_you_mean(name, header)}; the first line names the columns"
                    )
            unknown = [h for h in header if h not in COLUMNS]
            if unknown:
                raise ArtifactError(
                    f"'{path}' has an unknown column '{unknown[0]}'{did_you_mean(unknown[0], COLUMNS)}; remove it"
                )
            rows = []
            for row in reader:
                if None in row or None in row.values() or not row["path"] or not row["label"]:
                    raise ArtifactError(
                        f"'{path}', line {reader.line_num}: write {len(header)} values, path and label among them; is the file cut off?"
                    )
                rows.append((reader.line_num, row))
    except FileNotFoundError:
        raise ArtifactError(f"list '{path}' does not exist; write a CSV with columns path and label") from None
    except (UnicodeDecodeError, csv_format.Error) as error:
        raise ArtifactError(f"'{path}' is no CSV in UTF-8 ({error}); save it as text with commas") from error
    if not rows:
        raise ArtifactError(f"'{path}' lists no pictures; write one line each")
    return rows


def files_of(parameters: CsvParameters) -> list[Path]:
    """The list, its classes, and every picture and mask that it names."""
    own = [parameters.path] + ([] if parameters.classes is None else [parameters.classes])
    named = [row.get(column) for _, row in read_rows(parameters.path) for column in ("path", "mask")]
    return own + [parameters.path.parent / name for name in named if name]


@DATASETS.register("csv", parameters=CsvParameters, files=files_of)
def csv(parameters: CsvParameters) -> Source:
    """Pictures named in a CSV file with the columns path and label, and optionally mask, image_id and cluster."""
    path = parameters.path
    lines, rows = zip(*read_rows(path), strict=True)
    root = path.parent
    ids = [row.get("image_id") or row["path"] for row in rows]
    check_unique(ids, f"'{path}'")
    written = [row["label"] for row in rows]
    numbers = [w for w in written if _NUMBER.fullmatch(w)]
    names: list[str] = []
    if len(numbers) == len(written):
        part = next((i for i, w in enumerate(written) if float(w) % 1), None)
        if part is not None:
            raise ArtifactError(f"'{path}', line {lines[part]}: label {written[part]}; labels are whole numbers from 0")
        labels = as_labels((int(w.partition(".")[0]) for w in written), f"'{path}'")
        if labels.min() < 0:
            line = lines[int(np.argmin(labels))]
            raise ArtifactError(f"'{path}', line {line}: label {labels.min()}; labels count from 0")
        if parameters.classes is not None:
            names = read_class_list(parameters.classes)[1]
            if labels.max() >= len(names):
                raise ArtifactError(f"'{path}': label {labels.max()} is beyond the {len(names)} classes of the list")
    elif numbers:
        raise ArtifactError(f"'{path}': labels are numbers ('{numbers[0]}') and names; write all one way")
    else:
        labels, names = labels_of(written, parameters.classes, f"'{path}'")
    files = [root / row["path"] for row in rows]
    absent = next((i for i, f in enumerate(files) if not f.is_file()), None)
    if absent is not None:
        raise ArtifactError(
            f"'{path}', line {lines[absent]}: picture '{files[absent]}' does not exist; correct the path"
        )
    masks = None
    if "mask" in rows[0]:
        found = [root / row["mask"] if row["mask"] else None for row in rows]
        masks = masks_of(files, found.__getitem__, parameters, parameters)
    clusters = [row["cluster"] or None for row in rows] if "cluster" in rows[0] else None
    return source_of_files(files, ids, labels, parameters, masks=masks, classes=names, clusters=clusters)

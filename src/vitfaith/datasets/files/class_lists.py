"""Class lists: labels of the dataset's class names in the model's order."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vitfaith.errors import ArtifactError, did_you_mean
from vitfaith.lazy import np

if TYPE_CHECKING:
    from numpy.typing import NDArray

LARGEST_LABEL = 2**31 - 1
"""Largest label in a shard's column."""

_HELP = "one class per line in the order of the labels, or JSON (a list, or label → name)"


def read_class_list(path: Path) -> tuple[list[str], list[str]]:
    """(keys, names) in the order of the labels.

    A text file has one class a line: its key (the folder's name), and after a tab a name to show. JSON is a list of
    keys, or an object from label to key or to [key, name], as ``imagenet_class_index.json`` has.

    Raises:
        ArtifactError: no such file, broken JSON, a label left out, or a class named twice.
    """
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".json":
            raw = json.loads(text)
            rows = raw if isinstance(raw, list) else [raw[str(i)] for i in range(len(raw))]
            pairs = [(row, row) if isinstance(row, str) else (str(row[0]), str(row[1])) for row in rows]
        else:
            split = [line.partition("\t") for line in text.splitlines() if line.strip()]
            pairs = [(key.strip(), name.strip() or key.strip()) for key, _, name in split]
    except FileNotFoundError:
        raise ArtifactError(f"class list '{path}' does not exist; write {_HELP}") from None
    except KeyError as error:
        raise ArtifactError(f"class list '{path}' leaves out label {error}; labels run from 0 without gaps") from None
    except (OSError, ValueError, TypeError, IndexError) as error:
        raise ArtifactError(f"class list '{path}' cannot be read ({error}); write {_HELP}") from error
    keys = [key for key, _ in pairs]
    if not keys:
        raise ArtifactError(f"class list '{path}' is empty; write {_HELP}")
    twice = next((k for k in keys if keys.count(k) > 1), None) if len(set(keys)) < len(keys) else None
    if twice is not None:
        raise ArtifactError(f"class list '{path}' names '{twice}' twice; each class has one label")
    return keys, [name for _, name in pairs]


def labels_of(
    found: Sequence[str], listed: Path | None, where: str, order: Sequence[str] | None = None
) -> tuple[NDArray[np.int64], list[str]]:
    """Labels (N,) of the class ``found`` for each image, and the class names.

    Without a list the classes are ``order``, or by default the sorted names that occur.

    Raises:
        ArtifactError: a class that the list lacks.
    """
    if listed is None:
        keys = names = sorted(set(found)) if order is None else list(order)
    else:
        keys, names = read_class_list(listed)
    number = {key: i for i, key in enumerate(keys)}
    absent = next((c for c in found if c not in number), None)
    if absent is not None:
        raise ArtifactError(f"{where}: class '{absent}' is not in '{listed}'{did_you_mean(absent, keys)}; add its line")
    return np.array([number[c] for c in found], np.int64), names


def check_unique(image_ids: Iterable[str], where: str) -> None:
    """Raise :class:`ArtifactError` when an image id stands twice."""
    seen: set[str] = set()
    for image_id in image_ids:
        if image_id in seen:
            raise ArtifactError(f"{where}: image_id '{image_id}' stands twice; ids must be unique")
        seen.add(image_id)


def as_labels(values: Iterable[int], where: str) -> NDArray[np.int64]:
    """The labels (N,) of whole numbers of any size; raises :class:`ArtifactError` for one that no class can have."""
    values = list(values)
    beyond = next((v for v in values if abs(v) > LARGEST_LABEL), None)
    if beyond is not None:
        raise ArtifactError(f"{where}: label {beyond}; labels count classes from 0, correct them")
    return np.array(values, np.int64)


def check_labels(labels: NDArray[np.int64], classes: int | None, where: str) -> None:
    """Raise :class:`ArtifactError` for labels below 0, or at or above the number of ``classes`` when that is known."""
    if len(labels) and labels.min() < 0:
        raise ArtifactError(f"{where}: label {labels.min()}; labels count from 0, correct them")
    if len(labels) and classes is not None and labels.max() >= classes:
        raise ArtifactError(
            f"{where}: label {labels.max()}, but there are {classes} classes; is it another dataset, or damaged?"
        )

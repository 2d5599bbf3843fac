"""The sampled images as compact text: pictures once each, maps with a letter a patch, broken pairs with a letter for six."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vitfaith.figures.drawing.data import CONDITION
from vitfaith.figures.drawing.style import Style
from vitfaith.figures.page.table import rounded
from vitfaith.lazy import np
from vitfaith.map_values import map_flags

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pandas import DataFrame

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
"""The 64 levels of a map, low to high; also six bits of a list of booleans."""

LIMIT = 25_000_000
"""Most bytes of a page."""

SCORE_DIGITS = 3


def sample_data(
    sample: DataFrame,
    scores: DataFrame,
    pairs: DataFrame,
    pictures: DataFrame,
    style: Style,
    *,
    total: int,
    room: int = LIMIT,
) -> dict[str, Any]:
    """Data of the page about single images.

    Args:
        sample, scores, pairs, pictures: tables ``sample``, ``sample_scores``, ``sample_pairs`` and ``sample_pictures``.
        total: images of the experiment.
        room: most bytes of the result as JSON; images beyond it are left out, the last drawn first.
    """
    methods = style.order(sample["method"].astype(str))
    conditions = list(dict.fromkeys(zip(*(sample[c].astype(str) for c in CONDITION), strict=True)))
    units = list(dict.fromkeys(zip(scores["metric"].astype(str), scores["variant"].astype(str), strict=True)))
    drawn = sample.drop_duplicates(["dataset", "image_id"]).sort_values(["draw", "dataset"])
    images = list(zip(drawn["dataset"].astype(str), drawn["image_id"].astype(str), strict=True))
    maps = _maps(sample, scores, pairs, units)
    shown, picture_of, labels = _pictures(pictures)
    known = _entries(sample, conditions, methods, maps, picture_of)
    kept, used, entries = 0, set[int](), list[list[Any]]()
    for place, image in enumerate(images):
        own = known.get(image, [])
        new = {entry[1] for entry in own} - used
        room -= len(json.dumps(own)) + 16 * len(own) + sum(len(shown[i]) + 4 for i in new)
        if room < 0:
            break
        kept, used = kept + 1, used | new
        entries += [[entry[0], place, *entry[1:]] for entry in own]
    order = {old: new for new, old in enumerate(sorted(used))}
    for entry in entries:
        entry[2] = order[entry[2]]
    return {
        "drawn": {"number": kept, "asked": len(images), "total": total, "reason": kept < len(images)},
        "images": [{"name": name, "label": labels.get((dataset, name))} for dataset, name in images[:kept]],
        "methods": methods,
        "scores": ["\x01".join((*unit, "")) for unit in units],
        "conditions": conditions,
        "classes": _classes(sample),
        "colours": colours(style),
        "pictures": [shown[i] for i in sorted(used)],
        "entries": entries,
    }


def colours(style: Style) -> list[str]:
    """The colour of each of the 64 levels."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    return [to_hex(colormaps[style.sequential](level)) for level in np.linspace(0, 1, len(LETTERS))]


def map_texts(maps: NDArray[np.float64]) -> list[str]:
    """A letter a value for maps (n, P), each scaled to its own range; empty for a map without contrast or with NaN."""
    with np.errstate(invalid="ignore", divide="ignore"):
        low, high = maps.min(1, keepdims=True), maps.max(1, keepdims=True)
        levels = np.nan_to_num(np.round((len(LETTERS) - 1) * (maps - low) / (high - low)))
    letters = np.frombuffer(LETTERS.encode(), "S1")[levels.astype(np.int64)]
    flags = map_flags(maps)
    return [b"".join(row).decode() if not flag else "" for row, flag in zip(letters, flags, strict=True)]


def bit_text(bits: Sequence[bool]) -> str:
    """A letter for six booleans, the first one in the highest bit; filled up with False."""
    filled = np.zeros(-(-len(bits) // 6) * 6, np.int64)
    filled[: len(bits)] = np.asarray(bits, np.int64)
    return "".join(LETTERS[value] for value in filled.reshape(-1, 6) @ [32, 16, 8, 4, 2, 1])


Key = tuple[str, ...]


def _maps(
    sample: DataFrame, scores: DataFrame, pairs: DataFrame, units: Sequence[tuple[str, str]]
) -> dict[Key, list[Any]]:
    """(condition, image, method) → rows, columns, map, broken pairs by variant, scores in the order of ``units``."""
    keys = [*CONDITION, "image_id", "method"]
    found: dict[Key, list[Any]] = {}
    for _, part in sample.groupby(["rows", "columns"], sort=False):
        rows, columns = int(part["rows"].iloc[0]), int(part["columns"].iloc[0])
        texts = map_texts(np.stack([np.asarray(one, np.float64) for one in part["map"]]))
        for key, text in zip(_keys(part, keys), texts, strict=True):
            found[key] = [rows, columns, text, {}, [None] * len(units)]
    place = {unit: i for i, unit in enumerate(units)}
    for key, metric, variant, value in zip(
        _keys(scores, keys), scores["metric"].astype(str), scores["variant"].astype(str), scores["value"], strict=True
    ):
        if key in found:
            found[key][4][place[metric, variant]] = rounded(float(value), SCORE_DIGITS)
    for key, variant, groups, broken in zip(
        _keys(pairs, keys), pairs["variant"].astype(str), pairs["groups"], pairs["broken"], strict=True
    ):
        if key in found:
            found[key][3][variant] = [int(groups), bit_text(broken)]
    return found


def _keys(frame: DataFrame, columns: Sequence[str]) -> list[Key]:
    return list(zip(*(frame[name].astype(str) for name in columns), strict=True)) if len(frame) else []


def _pictures(pictures: DataFrame) -> tuple[list[str], dict[Key, int], dict[Key, str]]:
    """Pictures as data URLs, each once; (dataset, model, attack, image) → its place; (dataset, image) → name of its class."""
    places: dict[bytes, int] = {}
    place_of: dict[Key, int] = {}
    labels: dict[Key, str] = {}
    for key, label, name, picture in zip(
        _keys(pictures, ["dataset", "model", "attack", "image_id"]),
        pictures["label"],
        pictures["label_name"],
        pictures["picture"],
        strict=True,
    ):
        place_of[key] = places.setdefault(picture, len(places))
        if label >= 0:
            labels[key[0], key[3]] = name if isinstance(name, str) else f"class {label}"
    return [_url(picture) for picture in places], place_of, labels


def _url(picture: bytes) -> str:
    kind = "png" if picture.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode()}"


def _entries(
    sample: DataFrame,
    conditions: Sequence[Key],
    methods: Sequence[str],
    maps: Mapping[Key, list[Any]],
    picture_of: Mapping[Key, int],
) -> dict[Key, list[list[Any]]]:
    """(dataset, image) → for each condition: its place, picture, explained class, prediction, its probability, maps by method."""
    place = {condition: i for i, condition in enumerate(conditions)}
    found: dict[Key, list[list[Any]]] = {}
    once = sample.drop_duplicates([*CONDITION, "image_id"])
    for key, target, prediction, probability in zip(
        _keys(once, [*CONDITION, "image_id"]),
        once["target"],
        once["prediction"],
        once["prediction_probability"],
        strict=True,
    ):
        condition, image = key[:-1], key[-1]
        shown = [maps.get((*key, method)) for method in methods]
        numbers = int(target), int(prediction), rounded(float(probability), SCORE_DIGITS)
        entry = [place[condition], picture_of[condition[0], condition[1], condition[2], image], *numbers, shown]
        found.setdefault((condition[0], image), []).append(entry)
    return found


def _classes(sample: DataFrame) -> dict[str, dict[str, str]]:
    """Dataset and model → number of a class → its name, for the classes that occur."""
    found: dict[str, dict[str, str]] = {}
    for column in ("target", "prediction"):
        once = sample.drop_duplicates(["dataset", "model", column])
        for dataset, model, number, name in zip(
            once["dataset"], once["model"], once[column], once[f"{column}_name"], strict=True
        ):
            if isinstance(name, str):
                found.setdefault(f"{dataset}\x01{model}", {})[str(int(number))] = name
    return found

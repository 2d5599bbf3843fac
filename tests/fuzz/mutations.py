"""Small changes of configurations and of bytes, drawn by hypothesis."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 10**30, 0.5, -0.0, 1e308, float("nan"), float("inf"), "", " ", "0", "8/255", "1/0", "1e-1",
    "off", "ü", "\0", "../..", "a" * 300, "${x}", "{x}", [], {}, [None], [[]], [1, [2]], {"": None}, {"x": {"x": 1}}, {1: 2},
    ["clean", 3], (), b"bytes", "nan", "none", "trained", "pretrained", "tiny", "random",
)  # fmt: skip
"""Values that people, editors and YAML put where others belong."""


@dataclass(frozen=True)
class Change:
    """One change of a tree: where (shares of the way through the places), what, and with which value."""

    place: float
    kind: str
    value: Any


def changes() -> st.SearchStrategy[list[Change]]:
    """One to three changes of a configuration."""
    kinds = st.sampled_from(["replace", "remove", "add", "rename", "copy", "wrap"])
    one = st.builds(Change, st.floats(0, 1, exclude_max=True), kinds, st.integers(0, len(ODD) - 1).map(ODD.__getitem__))
    return st.lists(one, min_size=1, max_size=3)


def changed(raw: dict[str, Any], drawn: list[Change]) -> dict[str, Any]:
    """``raw`` after the changes."""
    tree = copy.deepcopy(raw)
    for change in drawn:
        places = list(_places(tree))
        if places:
            holder, key = places[int(change.place * len(places))]
            _apply(holder, key, change, places)
    return tree


def _places(tree: Any) -> Any:
    if isinstance(tree, dict | list):
        for key in list(tree) if isinstance(tree, dict) else range(len(tree)):
            yield tree, key
            yield from _places(tree[key])


def _apply(holder: Any, key: Any, change: Change, places: list[Any]) -> None:
    value = copy.deepcopy(change.value)
    match change.kind:
        case "replace":
            holder[key] = value
        case "remove":
            del holder[key]
        case "wrap":
            holder[key] = [holder[key]]
        case "copy":
            other, name = places[int((change.place * 7919) % 1 * len(places))]
            holder[key] = copy.deepcopy(other[name]) if _holds(other, name) else value
        case "rename" | "add" if isinstance(holder, dict):
            name = value if isinstance(value, str | int | float | bool | None) else "odd"
            holder[name] = holder.pop(key) if change.kind == "rename" else value


def _holds(holder: Any, key: Any) -> bool:
    return key in holder if isinstance(holder, dict) else key < len(holder)


@dataclass(frozen=True)
class Damage:
    """One change of a file: at a share of its length."""

    place: float
    kind: str
    content: bytes


def damages(contents: st.SearchStrategy[bytes] | None = None) -> st.SearchStrategy[list[Damage]]:
    """One to four changes of a file's bytes, of ``contents`` or any."""
    kinds = st.sampled_from(["overwrite", "overwrite", "flip", "insert", "remove", "cut", "grow"])
    # ends are drawn more often: headers and footers say how the rest is read
    near = st.one_of(st.floats(0, 1), st.floats(0, 0.05), st.floats(0.95, 1))
    one = st.builds(Damage, near, kinds, st.binary(min_size=1, max_size=8) if contents is None else contents)
    return st.lists(one, min_size=1, max_size=4)


def damaged(content: bytes, drawn: list[Damage]) -> bytes:
    """``content`` after the changes."""
    for damage in drawn:
        at, size = int(damage.place * len(content)), len(damage.content)
        match damage.kind:
            case "overwrite":
                content = content[:at] + damage.content + content[at + size :]
            case "flip" if at < len(content):
                content = content[:at] + bytes([content[at] ^ (1 << damage.content[0] % 8)]) + content[at + 1 :]
            case "insert":
                content = content[:at] + damage.content + content[at:]
            case "remove":
                content = content[:at] + content[at + size :]
            case "cut":
                content = content[:at]
            case "grow":
                content = content + damage.content * 20
    return content

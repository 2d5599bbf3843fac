"""A seeded subset of the fuzzing: every error about a mutated configuration or file is a VitfaithError."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.mutations import Change, Damage, changed, damaged
from tests.fuzz.targets import TARGETS

EXAMPLES = {"configuration": 30, "dataset": 12, "external maps": 20}


@pytest.mark.parametrize("name", TARGETS)
def test_an_error_is_always_of_this_package(name: str, tmp_path: Path) -> None:
    examples = EXAMPLES[name.split(":")[0]]
    outcomes = TARGETS[name](tmp_path, examples, 1)
    assert outcomes.total() >= examples
    assert outcomes["refused"] > 0


def test_mutations_change_what_they_say() -> None:
    raw = {"a": {"b": 1}, "c": [2, 3]}
    assert changed(raw, [Change(0.0, "remove", None)]) == {"c": [2, 3]}
    assert changed(raw, [Change(0.25, "replace", "x")]) == {"a": {"b": "x"}, "c": [2, 3]}
    assert changed(raw, [Change(0.0, "wrap", None)])["a"] == [{"b": 1}]
    assert raw == {"a": {"b": 1}, "c": [2, 3]}
    assert damaged(b"abcd", [Damage(0.5, "cut", b"x")]) == b"ab"
    assert damaged(b"abcd", [Damage(0.5, "overwrite", b"xyz")]) == b"abxyz"
    assert damaged(b"abcd", [Damage(0.0, "flip", b"\0")]) == b"`bcd"

"""Long texts as one argument: they come back as they were, and fit into a command's line."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitfaith.cli.options import parse_spec
from vitfaith.errors import VitfaithError
from vitfaith.packed import LONGEST, packed, unpacked

SYSTEM_LIMIT = 128 * 1024
"""Bytes of one argument under Linux (MAX_ARG_STRLEN)."""


@given(st.text(), st.integers(0, 3 * LONGEST))
def test_texts_come_back(text: str, times: int) -> None:
    long = text * (times // max(1, len(text)))
    assert unpacked(packed(long)) == long


def test_short_texts_stay_readable() -> None:
    assert packed('{"a":"Ä"}') == '{"a":"Ä"}'
    assert packed("x" * LONGEST) == "x" * LONGEST


def test_a_specification_of_four_thousand_conditions_is_one_argument() -> None:
    conditions = [
        {"dataset": "imagenet", "model": f"vit_{i // 100}", "attack": f"pgd_{i % 10}", "smoothing": f"dds_{i % 100}"}
        for i in range(4_000)
    ]
    spec = json.dumps({"conditions": conditions})
    argument = packed(spec)
    assert len(spec) > 2 * SYSTEM_LIMIT
    assert len(argument) < SYSTEM_LIMIT / 2
    subprocess.run(["bash", "-c", f"{sys.executable} -c 'pass' --spec {argument}"], check=True)
    assert parse_spec(argument)["conditions"] == conditions


@pytest.mark.parametrize("damaged", ["zlib:!", "zlib:AAAA", packed("x" * LONGEST * 2)[:-8]])
def test_damaged_texts_are_refused(damaged: str) -> None:
    with pytest.raises(VitfaithError, match=r"a compressed argument \(it starts with zlib:\) is damaged"):
        unpacked(damaged)

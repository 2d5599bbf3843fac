"""Pickles of plain data, read without unpickling."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.datasets.files import CIFAR, python2
from vitfaith.datasets.files.pickled import read_plain_pickle
from vitfaith.errors import ArtifactError

BATCH = {"labels": [1, 300, 70_000, -2], "data": CIFAR[:1], "filenames": ["a.png"] * 3, "more": (1, (2, 3), None, True)}


def read(content: bytes) -> Any:
    return read_plain_pickle(io.BytesIO(content), "file")


def as_python2(value: Any) -> Any:
    """What Python 3 gets from texts of Python 2 with encoding='bytes'."""
    if isinstance(value, dict):
        return {as_python2(k): as_python2(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(as_python2(v) for v in value)
    return value.encode() if isinstance(value, str) else value


def equal(a: Any, b: Any) -> bool:
    return repr(a) == repr(b)


def test_reads_what_unpickling_gives() -> None:
    content = python2(BATCH)
    assert b"U\x06labels" in content, "not the opcodes of Python 2"
    assert equal(read(content), as_python2(BATCH))
    assert equal(read(content), pickle.loads(content, encoding="bytes"))
    for protocol in (2, 3, 4, 5):
        if protocol < 4:
            assert equal(read(pickle.dumps(BATCH, protocol)), BATCH)
        else:
            plain = {k: v for k, v in BATCH.items() if k != "data"}
            assert equal(read(pickle.dumps(plain, protocol)), plain)


def test_arrays_in_the_order_of_fortran() -> None:
    array = np.asfortranarray(np.arange(6, dtype=np.uint8).reshape(2, 3))
    assert np.array_equal(read(python2({"data": array}))[b"data"], array)


class Call:
    def __reduce__(self) -> tuple:
        return (os.abort, ())


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (Call(), r"'file' asks to call '\w+ abort', which no dataset needs; it was not done"),
        ({"a": [Call()]}, "asks to call"),
        (os.abort, "asks to call"),
        (np.arange(3.0), "an array of f8 where unsigned bytes are expected"),
        ({"a": {1, 2}}, "asks to call"),
    ],
)
def test_nothing_is_ever_called(value: Any, message: str) -> None:
    with pytest.raises(ArtifactError, match=message):
        read(pickle.dumps(value, 2))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_damaged_file_is_an_error_with_a_sentence_or_plain_data(data: st.DataObject) -> None:
    content = bytearray(python2({"labels": [1, 2], "data": CIFAR[:1, :8].copy(), "name": "x"}))
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content
    with contextlib.suppress(ArtifactError):  # any other error fails the test
        assert not hasattr(read(bytes(content)), "name"), "a request to call something was handed out"

"""Damage done to files of a data set, one function a kind."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow.parquet as pq

from tests.datasets.files import (
    CIFAR,
    PICTURES,
    devkit,
    png,
    python2,
    tar,
    write,
)

Break = Callable[[Path], Any]
GREY16 = np.full((6, 6), 40_000, np.uint16)
WHOLE = png(PICTURES[0])


def put(name: str, content: bytes | Callable[[bytes], bytes]) -> Break:
    """Overwrite a file, or change its bytes."""

    def do(root: Path) -> None:
        path = root / name
        write(path, content if isinstance(content, bytes) else content(path.read_bytes()))

    return do


def half(content: bytes) -> bytes:
    return content[: len(content) // 2]


def change(name: str, edit: Callable[[Any], Any]) -> Break:
    """Change a JSON file."""

    def do(root: Path) -> None:
        content = json.loads((root / name).read_text())
        edit(content)
        (root / name).write_text(json.dumps(content))

    return do


def parquet(**columns: Any) -> Break:
    """Change columns of a Parquet file; None removes one."""

    def do(root: Path) -> None:
        path = min(root.rglob("*.parquet"))
        table = pq.read_table(path, partitioning=None)
        for name, value in columns.items():
            place = table.column_names.index(name)
            table = table.remove_column(place)
            table = table if value is None else table.add_column(place, name, value[: len(table)])
        pq.write_table(table, path)

    return do


def folder(root: Path) -> None:
    (root / "images" / "bird").mkdir()


def classes(*names: str) -> Break:
    def do(root: Path) -> dict[str, Any]:
        return {"classes": write(root / "classes.txt", "\n".join(names).encode())}

    return do


def kit(truth: str) -> Break:
    def do(root: Path) -> None:
        tar(root / "ILSVRC2012_devkit_t12.tar.gz", devkit(root, truth), "w:gz")

    return do


def lines(old: str, new: str) -> Break:
    return put("list.csv", lambda content: content.replace(old.encode(), new.encode()))


def hdf5(edit: Callable[[h5py.File], Any]) -> Break:
    def do(root: Path) -> None:
        with h5py.File(root / "gtsegs_ijcv.mat", "r+") as file:
            edit(file)

    return do


def cifar(**batch: Any) -> Break:
    return put("test", python2({"fine_labels": [1, 2], "coarse_labels": [0, 0], "data": CIFAR[:2], **batch}))


def records(*labels: int, side: int = 3072) -> bytes:
    return b"".join(bytes([label]) + bytes(side) for label in labels)


class Trap:
    def __reduce__(self) -> tuple:
        return (os.abort, ())  # unpickling would end the test run


def _annotation(key: str, value: Any) -> Break:
    return change("instances.json", lambda c: c["annotations"][0].__setitem__(key, value))


def _swap(root: Path) -> None:
    images, labels = root / "t10k-images-idx3-ubyte", root / "t10k-labels-idx1-ubyte"
    first, second = images.read_bytes(), labels.read_bytes()
    images.write_bytes(second)
    labels.write_bytes(first)

"""How far numbers made on the device are from those made on a CPU."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from benchmarks.gpu_sections.setup import Row
from numpy.typing import NDArray
from torch import nn


@contextmanager
def only_on(device: str) -> Iterator[None]:
    """Raise where a layer computes elsewhere: a network that was left on the CPU gives the same numbers.

    Raises:
        RuntimeError: a layer is given numbers of another device.
    """

    def look(layer: nn.Module, given: tuple[Any, ...]) -> None:
        if isinstance(layer, nn.Linear | nn.Conv2d) and given and given[0].device.type != torch.device(device).type:
            raise RuntimeError(f"a layer runs on {given[0].device}, not on {device}")

    handle = nn.modules.module.register_module_forward_pre_hook(look)
    try:
        yield
    finally:
        handle.remove()


def compared(found: Any, expected: Any, tolerance: float, *, within: float = 1.0) -> Row:
    """Largest and mean absolute difference, and whether a share ``within`` of the values is in the ``tolerance``.

    The tolerance is relative to the largest magnitude of the expected values, or absolute where that is below 1. NaN must
    stand where NaN stands. Where a method decides (a rank, a sign, a class), rounding can turn a near tie, which moves
    single values by a step: ``within`` allows for these.
    """
    a, b = (np.asarray(values, dtype=np.float64).ravel() for values in (found, expected))
    if a.shape != b.shape:
        return {"result": f"differs: {a.size} values for {b.size}"}
    both = np.isfinite(a) & np.isfinite(b)
    if not np.array_equal(np.isfinite(a), np.isfinite(b)):
        lost = int((np.isfinite(a) != np.isfinite(b)).sum())
        return {"result": f"differs: {lost} of {a.size} values are NaN or infinite on one side alone"}
    gaps = np.abs(a - b)[both]
    if not gaps.size:
        return {"result": "ok", "largest": 0.0, "values": 0}
    limit = tolerance * max(1.0, float(np.abs(b[both]).max()))
    share = float((gaps <= limit).mean())
    return {
        "result": "ok" if share >= within else "differs",
        "largest": float(gaps.max()),
        "mean": float(gaps.mean()),
        "in tolerance": round(share, 5),
        "tolerance": limit,
        "values": int(gaps.size),
    }


def of_maps(found: NDArray[Any], expected: NDArray[Any], tolerance: float, *, within: float = 1.0) -> Row:
    """As :func:`compared` for maps (B, …), each in units of its own largest magnitude."""
    scale = np.nanmax(np.abs(expected.reshape(len(expected), -1)), 1)
    scale = np.where(np.isfinite(scale) & (scale > 0), scale, 1.0).reshape(-1, *[1] * (expected.ndim - 1))
    return compared(found / scale, expected / scale, tolerance, within=within)


def of_tables(found: pa.Table, expected: pa.Table, tolerance: float, *, within: float = 1.0) -> Row:
    """As :func:`compared` for all numbers of two tables; texts must agree in the same share of the rows."""
    if found.column_names != expected.column_names or len(found) != len(expected):
        return {"result": "differs: other columns or another number of rows"}
    worst: Row = {"result": "ok", "largest": -1.0}
    for name in expected.column_names:
        row = _column(found.column(name), expected.column(name), tolerance, within)
        bad = row["result"] != "ok"
        if bad or (worst["result"] == "ok" and row.get("largest", 0.0) >= worst["largest"]):
            worst = {**row, "column": name}
        if bad:
            return worst
    return worst


def _column(found: pa.ChunkedArray, expected: pa.ChunkedArray, tolerance: float, within: float) -> Row:
    if pa.types.is_binary(expected.type):
        a, b = (np.frombuffer(b"".join(column.to_pylist()), np.uint8) for column in (found, expected))
        return compared(a, b, 0.0, within=within)
    if pa.types.is_string(expected.type):
        same = np.array(found.to_pylist(), object) == np.array(expected.to_pylist(), object)
        return compared(same.astype(float), np.ones(len(same)), 0.0, within=within)
    numbers, wanted = (_flat(column.to_pylist()) for column in (found, expected))
    return compared(numbers, wanted, tolerance, within=within)


def _flat(values: Any) -> NDArray[np.float64]:
    parts: list[float] = []
    for value in values:
        if isinstance(value, Mapping):
            raise TypeError("columns of structures are not compared")
        parts += _flat(value).tolist() if isinstance(value, list) else [np.nan if value is None else float(value)]
    return np.array(parts, dtype=np.float64)

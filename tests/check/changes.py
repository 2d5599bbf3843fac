"""Changes to a study, and what `vitfaith check` says of them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from vitfaith.artifacts.images import encode_images
from vitfaith.artifacts.schemas import SHARDS
from vitfaith.artifacts.store import write_table
from vitfaith.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "data"
Change = Callable[[dict[str, Any]], Any]


def put(*keys: str, value: Any) -> Change:
    def change(raw: dict[str, Any]) -> None:
        for key in keys[:-1]:
            raw = raw[key]
        raw[keys[-1]] = copy.deepcopy(value)

    return change


def problems(run: Callable[..., list[str]], *changes: Change) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        run(*changes)
    return str(caught.value).splitlines()


def image_file(path: Path, shape: tuple[int, int, int] = (1, 28, 28), classes: int = 10, sizes: int = 1) -> str:
    """A Parquet file of 20 images; with ``sizes`` 2 the last one is smaller."""
    rng, tables = np.random.default_rng(0), []
    for i in range(20):
        height = shape[1] - (4 if sizes > 1 and i == 19 else 0)
        pixels = rng.integers(0, 256, (1, shape[0], height, shape[2]), dtype=np.uint8)
        row = {"image_id": [f"i{i}"], "label": pa.array([i % classes], pa.int32()), **encode_images(pixels)}
        tables.append(pa.table(row))
    write_table(pa.concat_tables(tables), path, SHARDS, {})
    return str(path)


def dataset(path: str) -> Change:
    return put("datasets", "tiny", value={"reader": "parquet", "path": path, "images": 20, "shard_size": 20})

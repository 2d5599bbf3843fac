"""Predictions of an experiment, condition by condition, and what is warned of in them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vitfaith.artifacts.schemas import PREDICTIONS
from vitfaith.artifacts.store import open_parquet, read_table
from vitfaith.tables.clusters import Images
from vitfaith.tables.files import StageFiles, stage_files
from vitfaith.tables.growing import GROUP, GrowingTable, empty_frame, with_column
from vitfaith.tables.warnings import Guessing

GROUP_BYTES = 2**28
"""Most bytes of a row group: with many classes a row group has fewer rows, and fewer are in memory at once."""

PIECE_BYTES = 2**26


def write_predictions(spec: Mapping[str, Any], results: str, images: Mapping[str, Images], path: Path) -> Iterator[str]:
    """Write the table ``predictions`` and give its warnings (:mod:`vitfaith.tables.warnings`).

    Raises:
        ArtifactError: a file is missing or damaged.
    """
    files = stage_files(spec, results, "predictions", family=False)
    row = _row_bytes(files)
    guessing = Guessing()
    partitions = {name: files.column(name, np.zeros(0, np.int32)) for name in files.values}
    empty = empty_frame({**{f.name: pa.array([], f.type) for f in PREDICTIONS}, **partitions})
    with GrowingTable(path, empty, min(GROUP, max(1, GROUP_BYTES // row))) as out:
        for place, paths in files.parts:
            tables = [read_table(one, PREDICTIONS).combine_chunks() for one in paths]
            names = np.concatenate([table.column("image_id").to_pandas().to_numpy(object) for table in tables])
            order = np.argsort(names, kind="stable")
            own = images[place["dataset"]]
            for start in range(0, len(order), max(1, PIECE_BYTES // row)):
                piece = taken(tables, order[start : start + max(1, PIECE_BYTES // row)])
                for name, column in files.columns(place, len(piece)).items():
                    piece = piece.append_column(name, column)
                frame = piece.to_pandas()
                guessing.add(frame)
                clusters = None if own.clusters is None else own.clusters[own.names.get_indexer(frame["image_id"])]
                out.add(with_column(frame, clusters))
    yield from guessing.warnings()


def taken(tables: Sequence[pa.Table], rows: NDArray[np.int64]) -> pa.Table:
    """Rows of several tables by their places in all of them, without a copy of the others."""
    start = np.cumsum([0, *map(len, tables)])
    parts = [np.flatnonzero((rows >= a) & (rows < b)) for a, b in pairwise(start)]
    found = [table.take(rows[part] - a) for table, part, a in zip(tables, parts, start, strict=False)]
    return pa.concat_tables(found).take(np.argsort(np.concatenate(parts)))


def _row_bytes(files: StageFiles) -> int:
    """Approximate bytes of one row: its two lists over the classes."""
    for _, paths in files.parts:
        for path in paths:
            group = open_parquet(path, PREDICTIONS)
            if group.metadata.num_rows:
                first = next(group.iter_batches(1, columns=["probabilities"]))
                return 64 + 8 * len(first.column(0)[0])
    return 64

"""Chosen rows of Parquet files, read a batch at a time: memory follows the rows that are asked for, not the files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vitfaith.errors import ArtifactError

BATCH = 64
"""Rows decoded at once; only those asked for are kept."""


def read_rows(paths: Sequence[Path], indices: NDArray[np.int64], columns: Sequence[str]) -> pa.Table:
    """Rows ``indices`` (in that order) of the files set end to end; row groups without any are skipped.

    Raises:
        ArtifactError: a file is damaged.
    """
    order = np.argsort(indices, kind="stable")
    wanted = np.asarray(indices)[order]
    batches: list[pa.RecordBatch] = []
    start = 0
    schema = None
    for path in paths:
        try:
            with pq.ParquetFile(path, pre_buffer=False) as file:
                for group in range(file.num_row_groups):
                    stop = start + file.metadata.row_group(group).num_rows
                    low, high = np.searchsorted(wanted, (start, stop))
                    if low < high:
                        for batch in file.iter_batches(BATCH, row_groups=[group], columns=list(columns)):
                            low, high = np.searchsorted(wanted, (start, start + len(batch)))
                            if low < high:
                                batches.append(batch.take(pa.array(wanted[low:high] - start)))
                            start += len(batch)
                            if high == len(wanted):
                                break
                        schema = batches[-1].schema
                    start = stop
        except (pa.ArrowException, OSError) as error:
            raise ArtifactError(f"'{path}' is damaged ({error}); fetch or write it again") from error
    table = pa.Table.from_batches(batches, schema)
    return table.take(pa.array(np.argsort(order)))

"""Parquet files of raw pixels, with the columns of our shards."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from vitfaith.artifacts.images import decode_images, decode_truth
from vitfaith.datasets.files.class_lists import as_labels, check_labels, check_unique, read_class_list
from vitfaith.datasets.files.parquet_files import check_column, column_values, read_rows, schema_of
from vitfaith.datasets.registry import DATASETS, UNLABELLED, Source
from vitfaith.errors import ArtifactError
from vitfaith.lazy import np, pa, pq
from vitfaith.registry import Parameters

if TYPE_CHECKING:
    from numpy.typing import NDArray


class ParquetParameters(Parameters):
    """A Parquet file of images."""

    path: Path = Field(
        description="file with columns image_id, label, channels, height, width, pixels (uint8, CHW), and optionally truth and cluster"
    )
    classes: Path | None = Field(None, description="class list whose names are shown (see image_folder)")


@DATASETS.register("parquet", parameters=ParquetParameters)
def parquet(parameters: ParquetParameters) -> Source:
    """Images from one Parquet file with the columns of a shard (raw uint8 pixels, channel-first)."""
    from vitfaith.artifacts.schemas import CLUSTER, TRUTH

    path = parameters.path
    schema = schema_of(path)
    for name in ("channels", "height", "width"):
        check_column(schema, name, path, "integers")
    check_column(schema, "pixels", path, "bytes")
    has_truth = TRUTH.name in schema.names
    if has_truth:
        check_column(schema, TRUTH.name, path, "bytes")
    ids = [str(v) for v in column_values([path], "image_id", "names", "integers")]
    check_unique(ids, f"'{path}', column 'image_id'")
    labels = as_labels(column_values([path], "label", "integers"), f"'{path}', column 'label'")
    names = [] if parameters.classes is None else read_class_list(parameters.classes)[1]
    check_labels(labels[labels != UNLABELLED], len(names) or None, f"'{path}', column 'label'")

    def rows(indices: NDArray[np.int64], column: str) -> pa.Table:
        table = read_rows([path], indices, ["image_id", "channels", "height", "width", column])
        for name in table.column_names:
            if name != TRUTH.name and table.column(name).null_count:
                raise ArtifactError(f"'{path}', column '{name}': missing values; write every image in full")
        return table

    def read(indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        return decode_images(rows(indices, "pixels"), np.uint8, str(path))

    def masks(indices: NDArray[np.int64]) -> list[NDArray[np.int8] | None]:
        table = rows(indices, "truth")
        truth = decode_truth(table, str(path))
        if truth is None:
            return [None] * len(indices)
        absent = table.column("truth").is_null().to_pylist()
        return [None if gone else mask for gone, mask in zip(absent, truth, strict=True)]

    clusters = None
    if CLUSTER.name in schema.names:
        check_column(schema, CLUSTER.name, path, "names")
        clusters = pq.read_table(path, columns=[CLUSTER.name], partitioning=None).column(CLUSTER.name).to_pylist()
    return Source(ids, labels, read, masks if has_truth else None, clusters=clusters, classes=names)

"""Numbers in Parquet files that no image or class can have, and names of classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.datasets.files import NONE, PICTURES, png
from tests.datasets.test_readers import opened
from vitfaith.artifacts.images import encode_images
from vitfaith.datasets.fashion_mnist import CLASSES
from vitfaith.datasets.parquet import ParquetParameters, parquet
from vitfaith.errors import ArtifactError

GREY = np.zeros((1, 1, 28, 28), np.uint8)


@pytest.mark.parametrize(("height", "width"), [(-28, -28), (0, 28), (28, 0)])
def test_sizes_below_one(tmp_path: Path, height: int, width: int) -> None:
    columns = {"image_id": ["a"], "label": pa.array([0], pa.int32()), **encode_images(GREY)}
    columns |= {"height": pa.array([height], pa.int16()), "width": pa.array([width], pa.int16())}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    with pytest.raises(ArtifactError) as caught:
        opened("parquet", {"path": tmp_path / "a.parquet"}).read(np.array([0]))
    assert str(caught.value) == (
        f"'{tmp_path}/a.parquet': images of 1 channels, {height} × {width} pixels; write sizes of at least 1"
    )


@pytest.mark.parametrize("label", [2**63, 2**64 - 1, 2**31])
@pytest.mark.parametrize("reader", ["parquet", "hugging_face"])
def test_labels_beyond_any_class(tmp_path: Path, label: int, reader: str) -> None:
    columns = {"image_id": ["a"], "label": pa.array([label], pa.uint64()), **encode_images(GREY)}
    columns |= {"image": pa.array([png(PICTURES[0])])}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    more = NONE if reader == "hugging_face" else {}
    with pytest.raises(
        ArtifactError, match=rf"'.*a.parquet', column 'label': label {label}; labels count classes from 0"
    ):
        opened(reader, {"path": tmp_path / "a.parquet", **more})


def test_class_names_come_from_a_list(tmp_path: Path) -> None:
    shipped = Path(__file__).resolve().parents[2] / "resources" / "data"
    settings = {"path": shipped / "fashion_mnist.parquet", "classes": shipped / "fashion_mnist_classes.txt"}
    assert tuple(parquet(ParquetParameters(**settings)).classes) == CLASSES
    (tmp_path / "few.txt").write_text("one\ntwo\n")
    with pytest.raises(ArtifactError, match="label 9, but there are 2 classes"):
        parquet(ParquetParameters(**settings | {"classes": tmp_path / "few.txt"}))
